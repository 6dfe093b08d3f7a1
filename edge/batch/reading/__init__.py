"""How the files of a scan are read: in this process or several, and into a journal; knows no result file."""
