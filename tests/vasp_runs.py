"""A finished VASP run, as small as the parser takes it."""

import gzip

__all__ = ["vasprun", "write_run"]

VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator><i name="program" type="string">vasp </i><i name="version" type="string">6.4.2 </i>
 </generator>
 <incar><i type="int" name="NSW">{steps}</i><i name="ENCUT">520.0</i></incar>
 <kpoints><generation param="Gamma"><v type="int" name="divisions">1 1 1</v>
  <v name="usershift">0.0 0.0 0.0</v></generation>
  <varray name="kpointlist"><v>0.0 0.0 0.0</v></varray>
  <varray name="weights"><v>1.0</v></varray></kpoints>
 <parameters>
  <separator name="electronic"><i type="int" name="NELM">60</i>
   <separator name="electronic convergence"><i type="int" name="NELM">60</i></separator>
  </separator>
  <separator name="ionic"><i type="int" name="NSW">{steps}</i>
   <i type="int" name="IBRION">2</i></separator>
 </parameters>
 <atominfo><atoms>4</atoms><types>2</types>
  <array name="atoms"><dimension dim="1">ion</dimension><field type="string">element</field>
   <field type="int">atomtype</field>
   <set><rc><c>Li</c><c>1</c></rc><rc><c>Li</c><c>1</c></rc><rc><c>Li</c><c>1</c></rc>
    <rc><c>{anion}</c><c>2</c></rc></set></array>
  <array name="atomtypes"><dimension dim="1">type</dimension>
   <set><rc><c>3</c><c>Li</c><c>6.94</c><c>1.0</c><c>PAW_PBE Li_sv 10Sep2004</c></rc>
    <rc><c>1</c><c>{anion}</c><c>14.0</c><c>5.0</c><c>PAW_PBE {anion} 08Apr2002</c></rc>
   </set></array></atominfo>
 {structure_initial}
 <calculation>{scsteps}
  {structure}
  <varray name="forces"><v>0 0 0</v><v>0 0 0</v><v>0 0 0</v><v>0 0 0</v></varray>
  <varray name="stress"><v>0 0 0</v><v>0 0 0</v><v>0 0 0</v></varray>
  <energy><i name="e_fr_energy">-15.6</i><i name="e_wo_entrp">-15.6</i>
   <i name="e_0_energy">-15.6</i></energy>
 </calculation>
 <structure name="finalpos">{positions}</structure>
</modeling>
"""
POSITIONS = """<crystal><varray name="basis"><v>3.65 0 0</v><v>-1.825 3.161 0</v><v>0 0 3.88</v>
</varray><i name="volume">44.7</i><varray name="rec_basis"><v>0.274 0.158 0</v><v>0 0.316 0</v>
<v>0 0 0.258</v></varray></crystal><varray name="positions"><v>0.333 0.667 0</v>
<v>0.667 0.333 0</v><v>0 0 0.5</v><v>0 0 0</v></varray>"""


def vasprun(anion="N", steps=99, electronic=10):
    """Text of a vasprun.xml of Li3X, -15.6 eV in all."""
    scsteps = "".join(
        '<scstep><energy><i name="e_fr_energy">-15.6</i><i name="e_wo_entrp">-15.6</i>'
        '<i name="e_0_energy">-15.6</i></energy></scstep>'
        for _ in range(electronic)
    )
    return VASPRUN.format(
        anion=anion,
        steps=steps,
        scsteps=scsteps,
        positions=POSITIONS,
        structure=f"<structure>{POSITIONS}</structure>",
        structure_initial=f'<structure name="initialpos">{POSITIONS}</structure>',
    )


def write_run(folder, *, packed=False, **changes):
    """Leave a finished run in a candidate's folder."""
    folder.mkdir(exist_ok=True)
    text = vasprun(**changes)
    if packed:
        (folder / "vasprun.xml.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (folder / "vasprun.xml").write_text(text)
