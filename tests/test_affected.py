"""`make changed` chooses the right tests: all rules on a small repository, typical changes on this one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from chores import affected
from chores.affected import Sources

PACKAGES = {"bakery": "src", "inspections": "."}
FILES = {
    "src/bakery/__init__.py": "",
    "src/bakery/flour.py": "",
    "src/bakery/dough.py": "def knead():\n    from bakery import flour\n",
    "src/bakery/cake.py": "import bakery.flour",
    "src/bakery/shop/__init__.py": "",
    "src/bakery/shop/__main__.py": "",
    "src/bakery/shop/till.py": '"""Takes money; recipes are in bakery.dough and in recipes/bread.md."""',
    "recipes/bread.md": "",
    "recipes/sweet/waffle.md": "",
    "inspections/__init__.py": "",
    "inspections/test_dough.py": "from bakery.dough import knead",
    "inspections/test_till.py": "from bakery.shop import till",
    "inspections/test_shop_opens.py": 'COMMAND = ["python", "-m", "bakery.shop"]',
    "inspections/test_recipes.py": 'PAGES = ROOT / "recipes" / "sweet"',
    "inspections/test_bread.py": 'PAGE = ROOT / "recipes/bread.md"',
    "inspections/night/__init__.py": "",
    "inspections/night/conftest.py": "import bakery.cake",
    "inspections/night/test_moon.py": "",
    "pyproject.toml": "",
}


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x", *arguments], cwd=root, check=True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository with a branch `main`."""
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text + "\n")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "first")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "src")
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        ("src/bakery/dough.py", ["test_dough"]),
        ("src/bakery/flour.py", ["night/test_moon", "test_dough"]),
        ("src/bakery/cake.py", ["night/test_moon"]),
        ("src/bakery/shop/__main__.py", ["test_shop_opens"]),
        ("src/bakery/shop/__init__.py", ["test_shop_opens", "test_till"]),
        ("recipes/bread.md", ["test_bread"]),
        ("recipes/sweet/waffle.md", ["test_recipes"]),
        ("recipes/sour/rye.md", []),
        ("inspections/test_bread.py", ["test_bread"]),
        ("src/bakery/oven.py", []),
    ],
)
def test_tests_are_chosen_by_imports_and_by_the_files_that_they_name(
    checkout: Path, changed: str, tests: list[str]
) -> None:
    sources = Sources.read(checkout, PACKAGES, ["bakery"])
    assert sources.affected([changed]) == [f"inspections/{test}.py" for test in tests]
    assert len(sources.affected([changed, "pyproject.toml"])) == 6


def test_tests_of_a_module_that_was_deleted_are_affected(checkout: Path) -> None:
    (checkout / "src/bakery/shop/till.py").unlink()
    sources = Sources.read(checkout, PACKAGES, ["bakery"])
    assert sources.affected(["src/bakery/shop/till.py"]) == ["inspections/test_till.py"]


def test_the_change_begins_where_the_branch_left_its_base(checkout: Path) -> None:
    git(checkout, "checkout", "-q", "-b", "branch")
    (checkout / "recipes/bread.md").write_text("committed")
    git(checkout, "commit", "-q", "-a", "-m", "second")
    git(checkout, "checkout", "-q", "main")
    (checkout / "recipes/sweet/waffle.md").write_text("somebody else's")
    git(checkout, "commit", "-q", "-a", "-m", "on main")
    git(checkout, "checkout", "-q", "branch")
    (checkout / "src/bakery/dough.py").write_text("not committed")
    (checkout / "src/bakery/oven.py").write_text("new")
    (checkout / "src/bakery/cake.py").unlink()

    assert affected.changed_files(checkout, "main") == [
        "recipes/bread.md", "src/bakery/cake.py", "src/bakery/dough.py", "src/bakery/oven.py",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "test", "other"),
    [
        ("operator/tunegate/release/counting.py", "tests/governance/test_counting.py", "tests/chart/test_values.py"),
        ("docs/audit.md", "tests/docs/test_evidence_page.py", "tests/governance/test_counting.py"),
        ("charts/tunegate/values.yaml", "tests/chart/test_values.py", "tests/governance/test_counting.py"),
        ("crds/approvals.yaml", "tests/api/test_crd_files.py", "tests/governance/test_counting.py"),
        ("examples/licenses/prepare_data.py", "tests/trainer/test_license_data.py", "tests/chart/test_values.py"),
        ("tests/support/helm.py", "tests/chart/test_values.py", "tests/governance/test_counting.py"),
        ("tests/run.sh", "tests/attacks/test_threat_model.py", "tests/governance/test_counting.py"),
    ],
)
def test_in_this_checkout(changed: str, test: str, other: str) -> None:
    found = Sources.read().affected([changed])
    assert test in found
    assert other not in found
