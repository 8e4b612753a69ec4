"""The database under the store: only `store.py` uses it.

`address` says which database a text means, `sqlite` and `postgres` connect to one, `database` opens and checks what is there,
`migrations` brings an older one up to date. `tables` are its tables, `rows` writes and reads trials, `notes` tags and excludes
them, `packed` keeps them as columns for speed, `whole` writes and reads files that hold everything.
"""
