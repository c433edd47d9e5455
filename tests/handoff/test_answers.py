import math
import pickle

import pytest

from mfal.errors import MfalError
from mfal.handoff.answers import AnswerError, read_answers
from mfal.handoff.batch import AskedBatch, Request
from mfal.handoff.conditions import parse_conditions
from tests.vasp_runs import write_run

A, B, C = "garnets-00001", "garnets-00002", "garnets-00003"
HEADER = "id,formula,measurement,conditions,unit,status,value,uncertainty,note"


def batch() -> AskedBatch:
    requests = [
        Request(A, "Li2S", "ionic_conductivity"),
        Request(B, "Li3PS4", "ionic_conductivity"),
        Request(C, "Li3N", "total_energy"),
    ]
    return AskedBatch("garnets", {request.id: request for request in requests})


def line(name=A, formula="Li2S", unit="S/cm", status="", value="1e-4", uncertainty="", note=""):
    measurement = "total_energy" if name == C else "ionic_conductivity"
    return f"{name},{formula},{measurement},300 K,{unit},{status},{value},{uncertainty},{note}"


def table(tmp_path, *lines, header=HEADER, name="answers.csv"):
    path = tmp_path / name
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf8")
    return path


def right():
    return [
        line(A, value="1.2e-4", uncertainty="0.3e-4", note="pellet"),
        line(B, "Li3PS4", status="failed", value=""),
        line(C, "Li3N", "eV/atom", "ok", "-3.9"),
    ]


def test_right_answers_in_the_campaigns_units(tmp_path):
    read = read_answers(table(tmp_path, *right()), batch())
    assert read.problems == ()
    assert read.unanswered == ()
    first, second, third = read.answers
    assert first.value == pytest.approx(math.log10(1.2e-4))
    # One standard deviation of a logarithm, to first order.
    assert first.uncertainty == pytest.approx(0.25 / math.log(10))
    assert (first.unit, first.note, first.censoring) == ("log10 S/cm", "pellet", "exact")
    assert first.where == "answers.csv line 2"
    assert (second.status, second.value) == ("failed", None)
    assert (third.value, third.unit) == (-3.9, "eV/atom")


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [("0.12", "mS/cm", 1.2e-4), ("0.012", "S/m", 1.2e-4), ("120", "uS/cm", 1.2e-4)],
)
def test_units_of_one_quantity_are_converted(tmp_path, value, unit, expected):
    path = table(tmp_path, line(value=value, unit=unit))
    (answer,) = read_answers(path, batch(), partial=True).answers
    assert answer.value == pytest.approx(math.log10(expected))


EDITED = {
    "decimal comma, semicolons": f"{HEADER.replace(',', ';')}\n"
    f"{A};Li2S;ionic_conductivity;300 K;S/cm;ok;1,2E-06;3,0E-07;",
    "tabs": HEADER.replace(",", "\t") + "\n" + line(value="1.2e-6").replace(",", "\t"),
    "empty lines": f"\n,,,\n{HEADER}\n\n{line(value='1.2e-6')}\n\n",
    "Excel names the separator": f"sep=;\n{HEADER.replace(',', ';')}\n{A};;;;;;1,2e-6;;",
    "SI unit": f"{HEADER}\n{line(value='1.2e-6', unit='S cm-1')}",
    "dot": f"{HEADER}\n{line(value='1.2e-6', unit='S·cm⁻¹')}",
    "milli": f"{HEADER}\n{line(value='1.2e-3', unit='mS cm⁻¹')}",
    "ohm": f"{HEADER}\n{line(value='1.2e-4', unit='Ω⁻¹ m⁻¹')}",
    "logarithm": f"{HEADER}\n{line(value='-5.92081875', unit='log10(S/cm)')}",
    "digits in brackets": f"{HEADER}\n{line(value='1.2(3)e-6')}",
    "plus and minus": f"{HEADER}\n{line(value='1.2e-6 +- 3e-7')}",
    "plus minus": f"{HEADER}\n{line(value='(1.2 ± 0.3)·10⁻⁶')}",
    "subscripts": f"{HEADER}\n{line(formula='Li₂S', value='1.2e-6')}",
    "another multiple": f"{HEADER}\n{line(formula='Li4S2', value='1.2e-6')}",
    "room": f"{HEADER}\n{line(value='1.2e-6').replace('300 K', '25 °C')}",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", EDITED.values(), ids=EDITED)
def test_tables_as_people_leave_them(tmp_path, text, encoding):
    path = tmp_path / "answers.csv"
    path.write_bytes(text.encode(encoding))
    (answer,) = read_answers(path, batch(), partial=True).answers
    assert 10**answer.value == pytest.approx(1.2e-6)
    if answer.uncertainty is not None:
        assert answer.uncertainty == pytest.approx(0.25 / math.log(10))


def test_micro_in_windows_1252(tmp_path):
    path = tmp_path / "answers.csv"
    path.write_bytes(f"{HEADER}\n{line(value='1.2', unit='µS/cm')}\n".encode("cp1252"))
    (answer,) = read_answers(path, batch(), partial=True).answers
    assert 10**answer.value == pytest.approx(1.2e-6)


def test_another_temperature_is_converted_by_the_activation_energy(tmp_path):
    changed = line(value="1e-4").replace("300 K", '"60 °C, Ea = 0,35 eV"')
    (answer,) = read_answers(table(tmp_path, changed), batch(), partial=True).answers
    # sigma T = A exp(-Ea / kT), k = 8.617333e-5 eV/K
    there, here = 333.15, 300.0
    expected = 1e-4 * there / here * math.exp(-0.35 / 8.617333e-5 * (1 / here - 1 / there))
    assert 10**answer.value == pytest.approx(expected, rel=1e-5)
    assert "from 0.0001 S/cm at 333.15 K with Ea = 0.35 eV" in answer.note


@pytest.mark.parametrize(
    ("stated", "kelvin"),
    [
        ("60 degrees C", 333.15),
        ("60 celsius", 333.15),
        ("333 k, pellet", 333.0),
        ("T = 60 °C, 5 cycles", 333.15),
        ("T = 60", None),
        ("140 °F", None),
        ("temperature 60", None),
    ],
)
def test_no_temperature_is_passed_over(stated, kelvin):
    """One that isn't understood would stand for the one that was asked."""
    if kelvin is None:
        with pytest.raises(MfalError, match="with its unit, K or °C"):
            parse_conditions(stated)
    else:
        assert parse_conditions(stated).temperature == kelvin


def test_what_does_not_depend_on_temperature_keeps_its_conditions_as_a_note(tmp_path):
    told = line(C, "Li3N", "eV/atom", "ok", "-3.9").replace("300 K", "PBE")
    (answer,) = read_answers(table(tmp_path, told), batch(), partial=True).answers
    assert (answer.value, answer.note) == (-3.9, "conditions: PBE")


@pytest.mark.parametrize(("text", "limit"), [("≤1e-10", "below"), (">= 1,0E-10", "above")])
def test_limits_as_people_write_them(tmp_path, text, limit):
    quoted = f'"{text}"'
    (answer,) = read_answers(table(tmp_path, line(value=quoted)), batch(), partial=True).answers
    assert (answer.value, answer.censoring) == (pytest.approx(-10), limit)


def test_limit_of_detection_is_censored_not_taken_for_a_value(tmp_path):
    (answer,) = read_answers(table(tmp_path, line(value="<1e-10")), batch(), partial=True).answers
    assert (answer.value, answer.censoring) == (pytest.approx(-10), "below")


def test_abandoned_is_an_answer(tmp_path):
    path = table(tmp_path, line(status="Abandoned", value=""))
    (answer,) = read_answers(path, batch(), partial=True).answers
    assert (answer.status, answer.value) == ("abandoned", None)


def test_spreadsheet_habits_are_understood(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "\ufeffID;Value;Unit\r\n" + f"{A};1e-4;S/cm\r\n;;\r\n", encoding="utf8", newline=""
    )
    (answer,) = read_answers(path, batch(), partial=True).answers
    assert answer.value == pytest.approx(-4)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (line(unit="S"), "line 2: unit 'S' for ionic_conductivity"),
        (line(unit="eV"), "line 2: unit 'eV'"),
        (line(value="-1e-4"), "line 2: ionic_conductivity of -0.0001 S/cm; it must be positive"),
        (line(value="0"), "it must be positive"),
        (line(value="nan"), "value 'nan' isn't a finite number"),
        (line(value="inf"), "value 'inf' isn't a finite number"),
        (line(value="120"), "it should lie between 1e-20 and 10 S/cm"),
        (line(value="good"), "value 'good' isn't a finite number"),
        (line(value="1.2(3)e-6", uncertainty="1e-7"), "give the uncertainty once"),
        (line(value="1,2"), "10 cells under 9 columns"),
        (line(uncertainty="-1"), "uncertainty -1"),
        (line(uncertainty="nan"), "uncertainty 'nan' isn't a finite number"),
        (line(uncertainty="x"), "uncertainty 'x' isn't a finite number"),
        (line(status="done"), "status 'done'; use ok, failed, abandoned"),
        (line(status="failed"), "status failed with a value"),
        (line(status="ok", value=""), "status ok without a value"),
        (line("garnets-00009"), "id garnets-00009 wasn't asked in this batch"),
        (line("sulfides-00001"), "belongs to campaign sulfides, not to garnets"),
        (line(""), "line 2: no id"),
        (line(formula="Li2O"), "formula Li2O, but garnets-00001 is Li2S"),
        (line(formula="??"), "formula ??"),
        (line(formula="Li1.98S"), "formula Li1.98S, but garnets-00001 is Li2S"),
        (line().replace("300 K", "60 °C"), "measured at 333.15 K, but 300 K was asked"),
        (line().replace("300 K", "25 to 60 °C"), "name one temperature"),
        (line().replace("300 K", "60"), "write the temperature with its unit"),
        (line().replace("ionic_cond", "electronic_cond"), "but ionic_conductivity was asked"),
    ],
)
def test_each_bad_line_is_named_and_nothing_is_taken(tmp_path, bad, says):
    path = table(tmp_path, bad, *right()[1:])
    with pytest.raises(AnswerError) as error:
        read_answers(path, batch())
    assert says in str(error.value)
    assert str(error.value).startswith("answers.csv: line 2: ")
    assert "nothing was changed" in error.value.remedy
    assert "\n" not in str(error.value)
    rest = read_answers(path, batch(), partial=True)
    assert [answer.id for answer in rest.answers] == [B, C]
    assert len(rest.problems) == 1
    assert rest.unanswered == (A,)


def test_repeated_ids_are_refused_both(tmp_path):
    path = table(tmp_path, *right(), line(value="3e-4"))
    with pytest.raises(AnswerError, match="line 5: id garnets-00001 again, as in line 2"):
        read_answers(path, batch())
    assert [a.id for a in read_answers(path, batch(), partial=True).answers] == [B, C]


def test_open_lines_are_named_unless_partial(tmp_path):
    path = table(tmp_path, line(), line(B, "Li3PS4", value=""))
    with pytest.raises(AnswerError) as error:
        read_answers(path, batch())
    assert error.value.problems == (
        f"{B}: no answer; give a value, failed or abandoned",
        f"{C}: no answer; give a value, failed or abandoned",
    )
    read = read_answers(path, batch(), partial=True)
    assert [a.id for a in read.answers] == [A]
    assert read.unanswered == (B, C)
    assert read.problems == ()


def test_table_may_grow_from_one_reading_to_the_next(tmp_path):
    first = read_answers(table(tmp_path, line()), batch(), partial=True)
    known = {answer.id: answer.value for answer in first.answers}
    second = read_answers(
        table(tmp_path, line(), *right()[1:]), batch(), answered=known, partial=False
    )
    assert [answer.id for answer in second.answers] == [B, C]
    changed = table(tmp_path, line(value="9e-4"), *right()[1:])
    with pytest.raises(AnswerError, match="id garnets-00001 has another answer already"):
        read_answers(changed, batch(), answered=known)


def test_many_problems_are_counted_and_kept(tmp_path):
    path = table(tmp_path, *[line(f"garnets-{n:05d}") for n in range(100, 120)])
    with pytest.raises(AnswerError, match="and 15 more") as error:
        read_answers(path, batch())
    assert len(error.value.problems) == 23
    again = pickle.loads(pickle.dumps(error.value))
    assert (str(again), again.problems) == (str(error.value), error.value.problems)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"PK\x03\x04rest", "a workbook"),
        (b"id,value\n\x00,1\n", "not a text file"),
        (b"name,value\nx,1\n", "line 1 should name the columns, but lacks id"),
        (b"id,value,id\nx,1,y\n", "line 1 should name the columns"),
        (b"id,value,colour\nx,1,red\n", "has colour"),
    ],
)
def test_files_that_are_no_tables_are_refused_even_in_part(tmp_path, content, says):
    path = tmp_path / "answers.csv"
    path.write_bytes(content)
    with pytest.raises(MfalError) as error:
        read_answers(path, batch(), partial=True)
    assert says in str(error.value)
    assert "answers.csv" in str(error.value)


def test_absent_file_is_named(tmp_path):
    with pytest.raises(MfalError, match=r"x\.csv does not exist"):
        read_answers(tmp_path / "x.csv", batch())


def run(folder, *, name=C, **changes):
    write_run(folder / name, **changes)


@pytest.mark.parametrize("packed", [False, True])
def test_finished_run_is_read_beside_the_table(tmp_path, packed):
    run(tmp_path, packed=packed)
    table(tmp_path, *right()[:2], line(C, "Li3N", "eV/atom", value=""))
    read = read_answers(tmp_path, batch())
    assert [answer.id for answer in read.answers] == [A, B, C]
    energy = read.answers[2]
    assert energy.value == pytest.approx(-15.6 / 4)
    assert energy.unit == "eV/atom"
    assert energy.note == "VASP 6.4.2"


def test_run_that_did_not_converge_failed(tmp_path):
    run(tmp_path, electronic=60)
    (answer,) = read_answers(tmp_path, batch(), partial=True).answers
    assert (answer.id, answer.status, answer.value) == (C, "failed", None)
    assert "did not converge" in answer.note


def problems_of(tmp_path):
    with pytest.raises(AnswerError):
        read_answers(tmp_path, batch())
    read = read_answers(tmp_path, batch(), partial=True)
    assert not read.answers
    (problem,) = read.problems
    return problem


def test_run_of_another_compound_is_refused(tmp_path):
    run(tmp_path, anion="P")
    assert "vasprun.xml is of Li3P, not Li3N" in problems_of(tmp_path)


def test_damaged_run_is_refused(tmp_path):
    run(tmp_path)
    path = tmp_path / C / "vasprun.xml"
    path.write_text(path.read_text()[:2000])
    assert "vasprun.xml is damaged or unfinished" in problems_of(tmp_path)


def test_run_can_not_answer_for_a_conductivity(tmp_path):
    run(tmp_path, name=A)
    assert "doesn't hold the ionic_conductivity" in problems_of(tmp_path)


def test_run_and_table_may_not_both_answer(tmp_path):
    run(tmp_path)
    table(tmp_path, line(C, "Li3N", "eV/atom", "ok", "-3.9"))
    assert "answered by answers.csv and by" in problems_of(tmp_path)


def test_links_out_of_the_folder_are_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    run(tmp_path / "elsewhere")
    inside = tmp_path / "batch"
    inside.mkdir()
    (inside / C).symlink_to(tmp_path / "elsewhere" / C)
    assert "leads out of" in problems_of(inside)
    (inside / C).unlink()
    (inside / C).mkdir()
    (inside / C / "vasprun.xml").symlink_to(tmp_path / "elsewhere" / C / "vasprun.xml")
    assert "leads out of" in problems_of(inside)
