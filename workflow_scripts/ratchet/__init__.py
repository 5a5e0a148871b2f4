"""Ratchet: which improvements of a training script are real, and the proof.

Three layers, and imports only point downwards:

* faces (``report``, ``console``) show what happened,
* the edge (``store``, ``runner``, ``repo``, ``stages`` and the rest) touches
  files, processes, clocks and git,
* the core (``errors``, ``records``, ``judge``, ``steer`` and the rest) is pure.
"""

__version__ = "0.1.0"
