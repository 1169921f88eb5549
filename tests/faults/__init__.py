"""Faults on purpose: harmed studies, tables, bundles and machines, and a kernel that must not be stopped.

    python -m tests.faults --faults 1000 --seed 1     that many faults drawn at random, and a table
    python -m tests.faults.fuzz --inputs 20000        mutated DICOM files through the reader
    python -m tests.faults.soak --studies 500         memory and descriptors over a long run

| modules | content |
|---|---|
| study_set | healthy studies, and copies of them to be harmed |
| study_faults, file_damage | one harmed study each, many in a run |
| table_faults, bundle_faults, process_faults, machine_faults, member_faults | one run each |
| worker_process, kernels | start kernels without importing torch for each |
| patched_kernel | faults from within a kernel |
| checks | the rules that hold after every fault |
"""
