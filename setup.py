"""Packages of the wheel; everything else stands in setup.cfg.

`configs/` lies at the top level of a checkout and becomes `spacy_xner.configs`, which setup.cfg cannot say
beside `find:`.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["spacy_xner*"]), "spacy_xner.configs"],
    package_dir={"spacy_xner.configs": "configs"},
    package_data={
        "spacy_xner": ["py.typed"],
        "spacy_xner.configs": ["*.cfg"],
        "": ["*.jinja", "*.js", "*.css"],
    },
)
