"""The code behind the stage pack: rows of the dataset from outcomes and artifacts, and the file of a shard."""
