"""Recorded markets on disk: Parquet by instrument, series and month, with the rules that were in force beside them.

``series`` names what is stored and its columns, ``parquet_files`` and ``staging`` write it, ``reader`` streams it back,
``rules`` keeps instruments' rules by date, ``sources`` and its neighbours read files of other people.
"""
