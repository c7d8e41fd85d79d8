"""Caption engines, one file each, named like the engine.

An engine is a module with `open_engine(stage: Caption, context: Context) -> Work`, whose rows come out with the column
`captions`: a list of what `stages.captioning.texts.caption` makes, at least one.
"""
