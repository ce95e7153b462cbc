"""The words that channel labels are made of, and how a label is cut into them.

Recorders cut a label at 16 characters or earlier, so a bar in a word says how short it may be: "THO|RAX" is
found as THO, THOR, THORA and THORAX. Laboratories glue words ("LLEGEMG") or part them ("N Pres"): neither
matters. English, French, German, Spanish, Italian and Portuguese words are known.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

_WORDS = {
    # What kind of signal
    "EEG": "EEG",
    "EOG": "EOG",
    "EMG": "EMG",
    "ECG": "ECG EKG ELECTROCARD|IOGRAM",
    "EYE": "EYE OEIL OEUIL AUGE OJO OCCHIO",
    "EOG HORIZONTAL": "HEOG EOGH HOREOG EOGHOR|IZONTAL",
    "EOG VERTICAL": "VEOG EOGV EOGVERT|ICAL",
    "HORIZONTAL": "HORIZ|ONTAL",
    "VERTICAL": "VERT|ICAL",
    # Electrodes that carry a name of their own
    "E1": "E1 LOC",
    "E2": "E2 ROC",
    "M1": "M1 A1",
    "M2": "M2 A2",
    # Sides
    "LEFT": "LEFT LFT LT LINKS LKS GAUCHE GCHE IZQ|UIERDA IZQUIERDO ESQ|UERDA SINISTR|A",
    "RIGHT": "RIGHT RGT RT RECHTS DROIT|E DERECH|A DERECHO DCHA DIREIT|A DESTR|A",
    # Muscles
    "CHIN": "CHIN CCHIN SUBM|ENTALIS MENTAL|IS MENTON KINN MENTO QUEIXO SUBMENTON MYLOHYOID",
    "LEG": "LEG LEGS TIB|IALIS ANTTIB|IAL PLM PLMS JAMBE JAMBES BEIN BEINE PIERNA PIERNAS PERNA GAMBA LIMB",
    "LEG LEFT": "LAT TIBL LTA JAMBEG",
    "LEG RIGHT": "RAT TIBR RTA JAMBED",
    "MUSCLE": (
        "ARM ARMS BRAS BRAZO FLEX|OR FLEXORS EXT|ENSOR EXTENSORS DELT|OID DELTOIDS BICEP|S TRICEP|S HAND WRIST "
        "SHOULDER CALF SOLEUS PERON|EUS FOREARM FDS EDC EDB FDI FCR FOOT FEET MASS|ETER MASSETERS MASAT MASAT|ER "
        "MASSAT|ER MASET|ER TEMPORAL|IS JAW RIC INTERC|OSTAL DIAPH|RAGM SCM SCALENE TRAP|EZIUS QUAD|RICEPS "
        "GAST|ROCNEMIUS THIGH GENIOGL|OSSUS CHEEK NECK BRACHIOR|ADIALIS ANALSPH|INCTER"
    ),
    # Breathing
    "FLOW": "FLOW AIRFLOW AIRFLO AIRFLW FLW FLUX FLUSS FLUJO FLUSSO FLUXO DEBIT ATEMFL|USS AIRLFOW",
    "FLOW THERMAL": "TFLOW THFLOW FLOWTH NEWAIR NEWA NEWAF",
    "THERMAL": "THERM|ISTOR THERMISTORS THERMAL THERMOC|OUPLE THERMISTANCE TERMISTOR TERMISTORE",
    "PRESSURE": "PRES|SURE PRESSION DRUCK PRESION PRESSIONE PRESSAO PRSS PRSSR",
    "NASAL": "NASAL NASALE NASEN NASE NOSE NAS NASO",
    "ORAL": "ORAL ORALE MOUTH MUND BUCCAL|E BOCA ORO",
    "NASAL ORAL": "ORONAS|AL ORONASALE NASOORAL NASOBUCCAL|E BUCCONASAL|E",
    "NASAL PRESSURE": "NPRES|SURE NPRESS PNAS|AL NASALP|RESSURE NASPRES|SURE PTAF PFLOW PFLO NASALCANN|ULA PRESFLOW",
    "CANNULA": "CANN|ULA CANNULE CANUL|A CANULE KANUELE KANULE",
    "EFFORT": "EFF|ORT EFFORTS BELT BAND SANGLE GURT CINTURON FASCIA CINTA",
    "RESP": "RES RESP|IRATION RESPIRATORY BREATH|ING ATMUNG ATEM",
    "RIP": "RIP RIPS PVDF INDUCT|ANCE INDUKT|IV PIEZO RESPITRACE",
    "THORAX": (
        "THO|RAX THO|RACIC THORACI|QUE THORACA|L CHEST CHST RIB RIBS RIBCAGE RIBC VTH BRUST THX TORAX TORACE TORACI|CO "
        "THORACICO POITRINE"
    ),
    "ABDOMEN": "ABD|OMEN ABDOMINAL ABDOMINALE ABDM ABDOM|EN VAB BAUCH BELLY ADDOME ADDOM|INALE ADB STOMACH VENTRE",
    # Oxygen
    "SPO2": (
        "SPO2 SAO2 SP02 SA02 SPAO2 SO2 O2SAT|URATION 02SAT OSAT SAT|URATION SATO2 SAETTIG|UNG SATTIG|UNG SATURAC|ION "
        "SATURAZ|IONE OXYSAT PULSEOX|IMETER PULSOX|IMETRIE PULSOX|IMETER"
    ),
    "OXIMETER": "OXIM|ETER OXIMETRY OXY OXYM|ETER OXYMETRE",
    # Side channels, and signals that are not used
    "SNORE": (
        "SNOR|ING SNORES SNORE NASALSN|ORE MIC|ROPHONE MICRO PHONO SOUND SOUNDS AUDIO RONFL|EMENT RONQ|UIDO "
        "SCHNARCH|EN RUSS|AMENTO RONCO SPL NOISE GERAEUSCH VOLUMEDB"
    ),
    "PLETH": "PLETH|YSMOGRAM PLETHYSMOGRAPH PLETHWV PLETHWAVE PLETYSMO PPG PULSEWAVE|FORM PULSEAMP|LITUDE PULSEWAV PWA",
    "CO2": "CO2 C02 ETCO2 ETC02 TCCO2 TCPCO2 PCO2 PTCCO2 PETCO2 CAPNO|GRAM CAPNOGRAPH CO2WAVE EXPCO2 ENDTIDAL",
    "PULSE": (
        "PULSE PULS PULSERATE PULSERA PULSERAT PULSER PULSO POULS POLSO HEART HEARTRATE HRATE HEARTR HEARTRAT BPM "
        "HERZFREQ|UENZ CARDIAC BEAT DHR RRINT|ERVAL PULSEFREQ"
    ),
    "POSITION": "POS|ITION POSANGLE POSICION POSITON POSTION BODY BODYPOS|ITION LAGE KOERPERL|AGE POSTURE",
    "MOVEMENT": (
        "ELEV|ATION GRAV|ITY ACTIV|ITY ACTI|GRAPHY ACC|ELEROMETER AXIS XAXIS YAXIS ZAXIS MOVE|MENT MOTION MOUVEMENT "
        "GYRO INCLIN|ATION BEWEGUNG"
    ),
    "PAP": (
        "CPAP PAP XPAP BIPAP APAP BPAP IPAP EPAP AUTOPAP CFLOW CPRES|SURE CFLO MASK MASQUE MASKE LEAK LEAKAGE FUITE "
        "TIDAL TIDALVOL|UME VOLUME VENT|ILATOR PEEP LECK"
    ),
    "OESOPHAGUS": "PES ESOPH|AGEAL OESOPH|AGEAL PEPI EPIGL|OTTIC PGA GASTRIC",
    "SUM": "SUM XSUM SUMME SOMME SUMA XFLOW CRIP RIPSUM SUMRIP|S",
    "STATE": (
        "STAT|US OXSTAT|US QUALITY IMP|EDANCE IMPEDANZ OFF BATT|ERY AKKU SIGNALQ|UALITY VOLTAGE LEADOFF CALIB|RATION"
    ),
    "LIGHT": "LIGHT LIGHTS LUX LICHT LUZ LUMIERE LUMINOS|ITY AMBIENT RECTAL TEMPERA|TURE",
    "TEMP": "TEMP",
    "MARKER": (
        "MARK|ER MARKS MARKER EVENT EVENTS TRIG|GER STIM HYPNO|GRAM STADE STAGE CLOCK ANNOT|ATIONS BUTTON PATEVENT "
        "EPMS VIDEO TIME"
    ),
    "RATE": "RATE FREQ|UENCY FREQUENZ RESPRATE RESPR PHASE ANGLE RMI LIM|ITATION",
    "GROUND": "GND GROUND ERDE TERRE",
    "BACKUP": "BACKUP BKUP BCKUP SPARE",
    "SECOND": "SEC|ONDARY SECOND",
    "AUX": "AUX AUXILIARY AUXIL",
    "AUX AC": "AUXAC",
    "NASAL AC": "NASALAC",
    "TRACH": "TRACH|EA TRACHEAL TRACHEOST|OMY",
    "CENTRE": "CTR CENTER CENTRE CNTR MID MIDLINE",
    "": (
        "ANT|ERIOR ELECTRODE CHANNEL CHAN LEAD SIGNAL SENSOR MASIMO NONIN NOVAMETRIX SENTEC FINGER FING RAW CAL "
        "PATIENT DERIVED POL FAST SLOW BIPOLAR SUP INF UPPER LOWER UP LO NELLCOR DIGITAL WAVE"
    ),
}
"""Meaning(s) -> words that say so. The last line is of words that change nothing."""

_ALONE = {
    "REF": "REF REFERENCE X LE CLE LM AV AVG AVE CAR LER COM G2 AVERAGE VREF",
    "LEFT": "LI GA SX G",
    "RIGHT": "RE DX DER D",
    "LEG": "AT TA",
    "THORAX": "TH TX RC TOR",
    "ABDOMEN": "AB AD",
    "NASAL PRESSURE": "NP",
    "NASAL ORAL": "NO",
    "NASAL": "N",
    "PRESSURE": "P PR3",
    "THERMAL": "NAF THER",
    "FLOW": "AF AIR",
    "PULSE": "PR HR FC RR PTT",
    "SNORE": "SN SND DB",
    "MOVEMENT": "GX GY GZ",
    "PAP": "VT",
    "AUX": "DC",
    "HORIZONTAL": "H",
    "VERTICAL": "V",
    "OXIMETER": "OX",
    "AC": "AC",
    "": "CH C EC DR BB B",
}
"""Words too short to be found inside others: they stand alone, or before a number."""

_SITES = (
    "FP1 FPZ FP2 AF3 AFZ AF4 AF7 AF8 F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 FZ FT7 FT8 FT9 FT10 FC1 FC2 FC3 FC4 FC5 FC6 FCZ T1 "
    "T2 T3 T4 T5 T6 T7 T8 T9 T10 C1 C2 C3 C4 C5 C6 CZ TP7 TP8 TP9 TP10 CP1 CP2 CP3 CP4 CP5 CP6 CPZ P1 P2 P3 P4 P5 P6 "
    "P7 P8 P9 P10 PZ PO3 PO4 PO7 PO8 POZ O1 O2 OZ IZ NZ"
)
"""Electrodes of the 10–20 system and its 10–10 extension."""

SITE, NUMBER, UNKNOWN = "SITE", "NUMBER", "?"


@dataclass(frozen=True)
class Piece:
    """A word of a label: what it means (a key of the tables, SITE, NUMBER or UNKNOWN), and its letters."""

    meaning: str
    text: str


def _forms(table: dict[str, str]) -> dict[str, str]:
    forms: dict[str, str] = {}
    for meaning, words in table.items():
        for word in words.split():
            shortest, _, rest = word.partition("|")
            for end in range(len(rest) + 1):
                forms.setdefault(shortest + rest[:end], meaning)
    return forms


_INSIDE = _forms(_WORDS) | dict.fromkeys(_SITES.split(), SITE)
_WHOLE = _forms(_ALONE) | _INSIDE
_LONGEST = max(map(len, _INSIDE))
_MAX_LENGTH = 80  # a label's; EDF has 16, other formats any number
_POINTS = frozenset({SITE, "E1", "E2", "M1", "M2"})


def cut(label: str) -> list[Piece]:
    """A label's pieces in order, without regard to case, accents and separators."""
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Z0-9]+", " ", plain.upper()[:_MAX_LENGTH]).split()
    pieces: list[Piece] = []
    while words:
        for n in (3, 2, 1):  # "New Air", "H.R." and "O2 Sat" are words of their own
            joined = "".join(words[:n])
            if n <= len(words) and joined in _WHOLE:
                pieces += _named(_WHOLE[joined], joined)
                break
        else:
            n = 1
            pieces += _glued(words[0])
        del words[:n]
    # "ECG ECG1": the kind stands before the label.
    twice = [[kind, kind] for kind in ("EEG", "EOG", "EMG", "ECG")]
    return [p for i, p in enumerate(pieces) if [q.meaning for q in pieces[i : i + 2]] not in twice]


def _named(meanings: str, text: str) -> list[Piece]:
    return [Piece(meaning, text) for meaning in meanings.split()]


@lru_cache(maxsize=4096)
def _glued(word: str) -> tuple[Piece, ...]:
    """Cuts "LLEGEMG" or "F3M2": as few pieces as can be; a tail of at most two unknown letters is left over."""
    if number := re.fullmatch(r"([A-Z]+)0*(\d{1,3})", word):
        meaning = _WHOLE.get(number[1])
        if meaning is not None:
            return (*_named(meaning, number[1]), Piece(NUMBER, number[2]))
    best: list[tuple[int, tuple[Piece, ...]] | None] = [(0, ())] + [None] * len(word)
    for start in range(len(word)):
        if best[start] is None:
            continue
        cost, before = best[start]
        for end, pieces, more in _steps(word, start, before):
            if best[end] is None or cost + more < best[end][0]:
                best[end] = (cost + more, before + pieces)
    whole = best[len(word)]
    return whole[1] if whole else (Piece(UNKNOWN, word),)


def _steps(word: str, start: int, before: tuple[Piece, ...]):
    """(end, pieces, cost) of what may come next in a word."""
    if digits := re.match(r"\d+", word[start:]):
        # "A22" is A2 a second time, but "C12" is a contact of a grid and not C1.
        if not before or before[-1].meaning not in (SITE, "E1", "E2"):
            yield start + digits.end(), (Piece(NUMBER, digits[0]),), 2
        return
    for end in range(start + 1, min(len(word), start + _LONGEST) + 1):
        text = word[start:end]
        if text in ("L", "R"):
            yield end, (Piece("LEFT" if text == "L" else "RIGHT", text),), 2
        elif text in ("REF", "X", "LE", "AVG") and before and before[-1].meaning in _POINTS:
            yield end, (Piece("REF", text),), 2
        elif text in _INSIDE:
            yield end, tuple(_named(_INSIDE[text], text)), 2
    known = sum(len(p.text) for p in before if p.meaning not in (NUMBER, "LEFT", "RIGHT"))
    tail = re.match(r"[A-Z]+", word[start:])[0]
    if known >= 3 and len(tail) <= (4 if before[0].meaning == "ECG" else 2):
        yield start + len(tail), (Piece(UNKNOWN, tail),), 7
