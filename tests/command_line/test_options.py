"""What all commands answer alike."""

import sys

import pytest

from command_line.options import UsageError, check_options, make_parser


@pytest.fixture
def parser():
    parser = make_parser("beam_jobs.count", "count-things", description="Counts.")
    parser.add_argument("--corpus", required=True)
    return parser


def test_an_option_that_is_needed_and_misspelt_is_told_what_it_was_meant_to_be(parser):
    with pytest.raises(UsageError, match=r"^unknown option --korpus: did you mean --corpus"):
        check_options(["--korpus=a"], parser)
    with pytest.raises(UsageError, match=r"^unknown option --x: see --help"):
        check_options(["--corpus", "a", "--x"], parser)
    check_options(["--corpus=--x", "-h"], parser)


@pytest.mark.parametrize(
    ("started_as", "usage"),
    [
        ("/usr/bin/count-things", "usage: count-things "),
        ("/src/beam_jobs/count.py", "usage: python -m beam_jobs.count "),
    ],
)
def test_help_names_the_command_as_it_was_started(monkeypatch, started_as, usage):
    monkeypatch.setattr(sys, "argv", [started_as])
    parser = make_parser("beam_jobs.count", "count-things", description="Counts.")
    assert parser.format_help().startswith(usage)


def test_the_version_needs_no_other_option(parser, capsys):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("spleeter-beam ")
