"""Archives: 10^5 and more studies, graded by many workers on many machines, committed in Parquet parts.

Reading order: study_index.py (the studies), worker.py (one grades), driver.py (who grades which, and deaths), parts.py
(results on disk), merging.py. Engines start workers: engine_local.py on this machine, engine_ray.py on a cluster.
"""
