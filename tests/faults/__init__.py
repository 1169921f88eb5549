"""Faults on purpose: harmed studies, tables, bundles and machines, and a kernel that must not be stopped.

python -m tests.faults --faults 1000 --seed 1     that many faults drawn at random, and a table
python -m tests.faults.fuzz --inputs 20000        mutated DICOM files through the reader
python -m tests.faults.soak --studies 500         memory and descriptors over a long run

study_set    healthy studies, and copies of them to be harmed
file_faults, folder_faults, table_faults      one harmed study each, many in a run
run_faults, bundle_faults, process_faults     one run each
nursery      starts kernels without importing torch for each
checks       what must hold whatever was harmed
"""
