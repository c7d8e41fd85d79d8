"""Find out what is to be done: the state of each row of a run, and the blocks of rows that become shards."""
