"""One training run, from its specification to its record.

The supervisor and the first process of a container are started by ``python -S -E``, to be
there in a moment and to import nothing that a candidate could have put in their way.  They,
and the modules that they import, may import the standard library and each other only:
``supervisor``, ``evaluator``, ``process``, and of ``sandbox`` ``cgroups``, ``landlock``,
``namespaces``, ``seccomp``, ``container_rpc`` and ``container_init``.
"""
