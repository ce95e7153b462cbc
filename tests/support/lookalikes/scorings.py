"""One short scoring in the forms that programs write it: five stages twice, two obstructive apneas. Made up.

The recording begins at 22:30:00 on 1 January 1985; stages of 30 s W N1 N2 N3 REM W …, apneas of 12 s at 65 s and 215 s.
"""

import io
import zipfile
from datetime import datetime, timedelta
from xml.sax.saxutils import escape

START = datetime(1985, 1, 1, 22, 30)
STAGES = ("W", "N1", "N2", "N3", "REM") * 2
APNEAS = ((65, 12), (215, 12))


def clock(second: float, form: str = "%H:%M:%S") -> str:
    return (START + timedelta(seconds=second)).strftime(form)


def lines(form, stages=STAGES) -> str:
    """A line an epoch, as `form(onset_s, stage)` writes it."""
    return "".join(f"{form(30 * k, stage)}\n" for k, stage in enumerate(stages))


def remlogic(point: str = ":") -> str:
    names = {"W": "S0", "N1": "S1", "N2": "S2", "N3": "S3", "REM": "REM"}
    events = [(30 * k, f"SLEEP-{names[s]}", 30) for k, s in enumerate(STAGES)]
    events += [(onset, "APNEA-OBSTRUCTIVE", length) for onset, length in APNEAS] + [(70, "MCAP-A1", 4)]
    rows = (
        f"{STAGES[t // 30]}\tUnknown Position\t{clock(t).replace(':', point)}\t{e}\t{d}\tEEG"
        for t, e, d in sorted(events)
    )
    head = "RemLogic Event Export\nPatient:\tDoe\nRecording Date:\t01/01/1985\n\nEvents Included:\nSLEEP-S0\n\n"
    return head + "Sleep Stage\tPosition\tTime [hh:mm:ss]\tEvent\tDuration[s]\tLocation\n" + "\n".join(rows) + "\n"


def domino(kind: str = "Discret") -> str:
    head = f"Signal ID: SchlafProfil\\profil\nStart Time: 1/1/1985 10:30:00 PM\nUnit: s\nSignal Type: {kind}\n"
    if kind != "Discret":
        rows = (f"{clock(t)},000-{clock(t + d)},000; {d};Obstructive Apnea\n" for t, d in APNEAS)
        return f"{head}\n{''.join(rows)}"
    names = {"REM": "Rem", "W": "Wake"}
    listed = "Events list: N3,N2,N1,Rem,Wake,Artifact\nRate: 30 s\n\n"
    return head + listed + lines(lambda t, s: f"{clock(t)},000; {names.get(s, s)}")


def rml(begin: str = "1985-01-01T22:30:00") -> str:
    names = {"W": "Wake", "N1": "NonREM1", "N2": "NonREM2", "N3": "NonREM3", "REM": "REM"}
    stages = lines(lambda t, s: f'<Stage Type="{names[s]}" Start="{t}"/>')
    events = "".join(
        f'<Event Family="Respiratory" Type="ObstructiveApnea" Start="{t}" Duration="{d}"/>' for t, d in APNEAS
    )
    note = '<Event Family="User" Type="UserEvent" Start="1" Duration="1"/>'
    session = f"<Session><RecordingStart>{begin}</RecordingStart><Duration>300</Duration></Session>"
    return (
        '<?xml version="1.0"?><PatientStudy xmlns="http://www.respironics.com/PatientStudy.xsd">'
        f"<Acquisition><Sessions>{session}</Sessions></Acquisition><ScoringData><Events>{events}{note}</Events>"
        f"<StagingData><MachineStaging><NeuroAdultAASMStaging><Stage Type='Wake' Start='0'/></NeuroAdultAASMStaging>"
        f"</MachineStaging><UserStaging><NeuroAdultAASMStaging>{stages}</NeuroAdultAASMStaging></UserStaging>"
        "</StagingData></ScoringData></PatientStudy>"
    )


def embla() -> str:
    names = {"W": "SLEEP-S0", "N1": "SLEEP-S1", "N2": "SLEEP-S2", "N3": "SLEEP-S3", "REM": "SLEEP-REM"}
    marks = [(30 * k, 30, names[s]) for k, s in enumerate(STAGES)]
    marks += [(t, d, "APNEA-OBSTRUCTIVE") for t, d in APNEAS]
    form = "%Y-%m-%dT%H:%M:%S.%f"
    events = (
        f"<Event><Type>{text}</Type><StartTime>{clock(t, form)}</StartTime><StopTime>{clock(t + d, form)}</StopTime>"
        "</Event>"
        for t, d, text in marks
    )
    return f'<?xml version="1.0"?><EventExport><Events>{"".join(events)}</Events></EventExport>'


def luna(head: bool = True) -> str:
    apneas = [f"apnea_obstructive\t.\tflow\t{clock(t)}\t+{d}\t.\n" for t, d in APNEAS]
    first = "# apnea_obstructive | an event\nclass\tinstance\tchannel\tstart\tstop\tmeta\n" if head else ""
    return first + lines(lambda t, s: f"{s}\t.\t.\t{clock(t)}\t{clock(t + 30)}\t.") + "".join(apneas)


def wonambi() -> str:
    names = {"W": "Wake", "N1": "NREM1", "N2": "NREM2", "N3": "NREM3", "REM": "REM"}
    epochs = lines(
        lambda t, s: (
            f"<epoch><epoch_start>{t}</epoch_start><epoch_end>{t + 30}</epoch_end><stage>{names[s]}</stage></epoch>"
        )
    )
    events = "".join(f"<event><event_start>{t}</event_start><event_end>{t + d}</event_end></event>" for t, d in APNEAS)
    return (
        "<annotations version='5'><dataset><start_time>1985-01-01T22:30:00</start_time></dataset>"
        f"<rater name='Doe'><bookmarks/><events><event_type type='Obstructive apnea'>{events}</event_type></events>"
        f"<stages>{epochs}</stages></rater></annotations>"
    )


def allscore() -> str:
    marks = [(30 * k, f"STAGE - {'R' if s == 'REM' else s}") for k, s in enumerate(STAGES)]
    marks += [(t, f"RESPIRATORY EVENT - DUR: {d}.0 SEC. - OBSTRUCTIVE APNEA - NO DESAT") for t, d in APNEAS]
    rows = [(-600, "STAGE - NO STAGE"), (0, "START RECORDING"), *sorted(marks)]
    return "".join(f"{clock(t)}.00\t{text}\n" for t, text in rows)


_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def xlsx(*sheets: list[list], extra: dict[str, str] | None = None) -> bytes:
    """A workbook. Texts are shared; floats below 1 get a style of a clock time, dates one of a date."""
    texts: list[str] = []

    def cell(place: int, row: int, value) -> str:
        name = f"{chr(65 + place)}{row}"
        if isinstance(value, str):
            texts.append(value)
            return f'<c r="{name}" t="s"><v>{len(texts) - 1}</v></c>'
        if isinstance(value, datetime):
            days = (value - datetime(1899, 12, 30)) / timedelta(days=1)
            return f'<c r="{name}" s="1"><v>{days!r}</v></c>'
        return f'<c r="{name}"{" s=" + chr(34) + "2" + chr(34) if 0 < value < 1 else ""}><v>{value}</v></c>'

    parts = {"xl/workbook.xml": f'<workbook xmlns="{_SHEET}"><sheets/></workbook>'}
    for number, sheet in enumerate(sheets, start=1):
        rows = "".join(
            f'<row r="{r}">{"".join(cell(c, r, v) for c, v in enumerate(row) if v is not None)}</row>'
            for r, row in enumerate(sheet, start=1)
        )
        parts[f"xl/worksheets/sheet{number}.xml"] = (
            f'<worksheet xmlns="{_SHEET}"><sheetData>{rows}</sheetData></worksheet>'
        )
    shared = "".join(f"<si><t>{escape(text)}</t></si>" for text in texts)
    parts["xl/sharedStrings.xml"] = f'<sst xmlns="{_SHEET}">{shared}</sst>'
    formats = '<xf numFmtId="0"/><xf numFmtId="22"/><xf numFmtId="164"/>'
    own = '<numFmts><numFmt numFmtId="164" formatCode="[$-409]hh:mm:ss"/></numFmts>'
    parts["xl/styles.xml"] = f'<styleSheet xmlns="{_SHEET}">{own}<cellXfs>{formats}</cellXfs></styleSheet>'
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (parts | (extra or {})).items():
            archive.writestr(name, text)
    return buffer.getvalue()
