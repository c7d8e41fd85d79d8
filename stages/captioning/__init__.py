"""Caption engines: metadata.py, vlm.py and served.py, named like the engines, and what stands behind them.

An engine's module has `open_engine(stage: Caption, context: Context) -> Work`, whose rows come out with the column
`captions`: a list of what `stages.captioning.texts.caption` makes, at least one.
"""
