"""Packaging of sleepmami-jax. Tool settings (ruff, pytest) live in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="sleepmami",
    version="0.1.0",
    description="One model of both scales of sleep: whole-night polysomnography in JAX",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(
        include=["sleepmami_jax", "sleepmami_jax.*", "data_pipeline", "data_pipeline.*", "experiments"]
    ),
    package_data={"sleepmami_jax.scoring": ["*.html.j2"]},
    install_requires=[
        "absl-py>=2.1",
        "array_record>=0.8",
        "defusedxml>=0.7",
        "edfio>=0.4.10",
        "etils[epath]>=1.9",
        "flax>=0.12.8,<0.13",
        "grain>=0.2.16,<0.3",
        "jax>=0.10,<0.13",
        "jinja2>=3.1",
        "matplotlib>=3.9",
        "mne>=1.9",
        "numpy>=2",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.12.8,<1",
        "pyyaml>=6",
        "safetensors>=0.5",
        "scikit-learn>=1.6",
        "scipy>=1.14",
        "threadpoolctl>=3.5",
        "tqdm>=4.66",
        "zstandard>=0.22",
    ],
    extras_require={
        "cuda": ["jax[cuda12]"],
        "tpu": ["jax[tpu]"],
        "torch": ["torch==2.13.0"],
        "ray": ["ray[default]>=2.40"],
        "onnx": ["torch==2.13.0", "onnx>=1.17", "onnxscript>=0.3", "onnxruntime>=1.20"],
        "tensorboard": ["tensorboardX>=2.6"],
        "gcs": ["etils[epath-gcs]>=1.15", "google-cloud-storage>=3"],
        "formats": ["pymatreader>=1.0"],
        "dev": [
            "etils[epath-gcs]>=1.15",
            "google-cloud-storage>=3",
            "h5py>=3.10",
            "hypothesis>=6.100",
            "pymatreader>=1.0",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff==0.17.6",
            "tensorboardX>=2.6",
            "wfdb>=4.3",
        ],
    },
    entry_points={"console_scripts": ["sleepmami=sleepmami_jax.cli:main"]},
)
