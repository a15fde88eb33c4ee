"""What the modules have in common: the features of their inputs, the words for them, and the papers.

Class labels are int64 and reals float64, so that a module returns the very number that its function returns.
`evaluate` casts what it is given to these types, and would cut a class label of 0.7 down to 0.
"""

import datasets


LABELS = datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")})
LABELS_INPUTS = """
Args:
    predictions (`list[int]` of length N): Predicted classes.
    references (`list[int]` of length N): True classes.
"""

VALUES = datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("float64")})
VALUES_INPUTS = """
Args:
    predictions (`list[float]` of length N): Predicted values.
    references (`list[float]` of length N): True values.
"""

PROBABILITIES = datasets.Features(
    {"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("int64")}
)
PROBABILITIES_INPUTS = """
Args:
    predictions (`list[list[float]]` of N rows of length C): Probabilities in [0, 1], each row summing to 1.
    references (`list[int]` of length N): True classes in 0 .. C-1.
"""

MULTI_HOT = datasets.Features(
    {
        "predictions": datasets.Sequence(datasets.Value("int64")),
        "references": datasets.Sequence(datasets.Value("int64")),
    }
)
MULTI_HOT_INPUTS = """
Args:
    predictions (`list[list[int]]` of N rows of length C): Predicted labels, 0 or 1.
    references (`list[list[int]]` of N rows of length C): True labels, 0 or 1.
"""

MULTI_LABEL_PROBABILITIES = datasets.Features(
    {
        "predictions": datasets.Sequence(datasets.Value("float64")),
        "references": datasets.Sequence(datasets.Value("int64")),
    }
)
MULTI_LABEL_PROBABILITIES_INPUTS = """
Args:
    predictions (`list[list[float]]` of N rows of length C): Probabilities in [0, 1], each label for itself.
    references (`list[list[int]]` of N rows of length C): True labels, 0 or 1.
"""

SCIKIT_LEARN = """@article{scikit-learn,
  title   = {Scikit-learn: Machine Learning in {P}ython},
  author  = {Pedregosa, F. and Varoquaux, G. and Gramfort, A. and Michel, V. and Thirion, B. and Grisel, O. and
             Blondel, M. and Prettenhofer, P. and Weiss, R. and Dubourg, V. and Vanderplas, J. and Passos, A. and
             Cournapeau, D. and Brucher, M. and Perrot, M. and Duchesnay, E.},
  journal = {Journal of Machine Learning Research},
  volume  = {12},
  pages   = {2825--2830},
  year    = {2011}
}"""

SCIPY = """@article{2020SciPy-NMeth,
  title   = {{SciPy} 1.0: Fundamental Algorithms for Scientific Computing in Python},
  author  = {Virtanen, Pauli and Gommers, Ralf and Oliphant, Travis E. and others},
  journal = {Nature Methods},
  volume  = {17},
  pages   = {261--272},
  year    = {2020}
}"""

MATTHEWS = """@article{matthews1975comparison,
  title   = {Comparison of the predicted and observed secondary structure of T4 phage lysozyme},
  author  = {Matthews, Brian W.},
  journal = {Biochimica et Biophysica Acta (BBA) - Protein Structure},
  volume  = {405},
  number  = {2},
  pages   = {442--451},
  year    = {1975}
}"""

RUSSAKOVSKY = """@article{russakovsky2015imagenet,
  title   = {{ImageNet} Large Scale Visual Recognition Challenge},
  author  = {Russakovsky, Olga and Deng, Jia and Su, Hao and Krause, Jonathan and Satheesh, Sanjeev and Ma, Sean and
             Huang, Zhiheng and Karpathy, Andrej and Khosla, Aditya and Bernstein, Michael and Berg, Alexander C. and
             Fei-Fei, Li},
  journal = {International Journal of Computer Vision},
  volume  = {115},
  number  = {3},
  pages   = {211--252},
  year    = {2015}
}"""

BRIER = """@article{brier1950verification,
  title   = {Verification of forecasts expressed in terms of probability},
  author  = {Brier, Glenn W.},
  journal = {Monthly Weather Review},
  volume  = {78},
  number  = {1},
  pages   = {1--3},
  year    = {1950}
}"""

GUO = """@inproceedings{guo2017calibration,
  title     = {On Calibration of Modern Neural Networks},
  author    = {Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.},
  booktitle = {Proceedings of the 34th International Conference on Machine Learning},
  pages     = {1321--1330},
  year      = {2017}
}"""

KULL = """@inproceedings{kull2019beyond,
  title     = {Beyond temperature scaling: Obtaining well-calibrated multi-class probabilities with {Dirichlet} calibration},
  author    = {Kull, Meelis and Perello-Nieto, Miquel and K{\"a}ngsepp, Markus and Silva Filho, Telmo and Song, Hao and
               Flach, Peter},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {32},
  pages     = {12316--12326},
  year      = {2019}
}"""

NGUYEN = """@inproceedings{nguyen2015posterior,
  title     = {Posterior Calibration and Exploratory Analysis for Natural Language Processing Models},
  author    = {Nguyen, Khanh and O'Connor, Brendan},
  booktitle = {Proceedings of the 2015 Conference on Empirical Methods in Natural Language Processing},
  pages     = {1587--1598},
  year      = {2015}
}"""
