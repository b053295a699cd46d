"""kdwsd: multi-label classifiers distilled from weakly supervised detection.

Implements Liu et al., "Multi-Label Image Classification via Knowledge
Distillation from Weakly-Supervised Detection", ACM Multimedia 2018
(arXiv 1809.05884).
"""

from kdwsd import legacy_keras

__version__ = "0.1.0"

legacy_keras.use()
