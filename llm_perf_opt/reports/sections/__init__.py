"""The sections of a run's report, one file each.

A file here exports `SECTION`, a `reports.section.ReportSection`. Adding a section is adding a file. A third party's is
registered under the name of its stage and asked for where a run holds that stage.
"""
