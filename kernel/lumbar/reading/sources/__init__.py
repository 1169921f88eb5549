"""Where studies come from: local folders, object stores, DICOMweb. Each lists references that a reader process fetches.

--data -> locations -> opening -> local_folder, object_store, dicomweb    tasks, and the references of a task
a reference -> fetching -> spool                                         files of one study, for the ordinary reader
"""
