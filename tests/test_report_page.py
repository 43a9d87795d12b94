"""The page and its plots: everything escaped, nothing loaded, the same bytes every time."""

import html.parser
import json
import shutil
from xml.etree import ElementTree

import pytest
from test_report_synthetic import ARMS, HOSTILE, LOGITS, write_study

from bakein.report.build import build_report
from bakein.report.layout import spread
from bakein.report.plots import draw

EVIL = "<b onload=x>$a$&\"'\u202e</style>"  # as an arm, a stage, a source and a question
VOID = {"meta", "br", "img", "link", "input", "hr"}
TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "main",
    "nav",
    "section",
    "article",
    "figure",
    "figcaption",
    "details",
    "summary",
    "h1",
    "h2",
    "h3",
    "p",
    "div",
    "span",
    "small",
    "strong",
    "em",
    "sup",
    "code",
    "pre",
    "a",
    "ul",
    "li",
    "dl",
    "dt",
    "dd",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "svg",
    "g",
    "defs",
    "path",
    "use",
    "text",
    "clippath",
    "rect",
    "tspan",
}


class Page(html.parser.HTMLParser):
    """Collects what a browser would see; fails on what does not nest."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.open, self.text, self.ids = set(), [], [], [], []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, key, value) for key, value in attrs]
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    def check_harmless(self):
        assert self.tags <= TAGS
        assert len(self.ids) == len(set(self.ids))
        for tag, key, value in self.attributes:
            assert not key.startswith("on"), (tag, key)
            assert key not in ("src", "srcset", "action", "formaction", "xlink:href", "data")
            if key == "href":
                assert value.startswith("#"), "links stay on the page: nothing is loaded"
                assert value[1:] in self.ids
            if key == "style":
                assert "url(" not in value.replace("url(#", "")


def outputs(workdir):
    return {path.name: path.read_bytes() for path in (workdir / "report").iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("built")
    write_study(workdir, seeds=2, problems=8)
    build_report(workdir)
    return workdir


@pytest.fixture(scope="module")
def source(built):
    return (built / "report" / "index.html").read_text(encoding="utf-8")


def test_the_page_is_one_harmless_document(source):
    page = Page(source)
    page.check_harmless()
    policy = next(v for t, k, v in page.attributes if t == "meta" and "default-src" in (v or ""))
    assert policy.startswith("default-src 'none';")
    assert "script" not in policy
    assert "@import" not in source
    assert "url(" not in source.split("</style>")[0]


def test_the_page_begins_with_the_answers_and_shows_everything(built, source):
    text = " ".join(" ".join(Page(source).text).split())
    results = json.loads((built / "report" / "results.json").read_text())
    for answer in results["answers"].values():
        assert answer["sentence"].replace("\N{NO-BREAK SPACE}", " ") in text.replace(
            "\N{NO-BREAK SPACE}", " "
        )
    places = [
        text.index(part)
        for part in (
            "Q1. Can reasoning",
            "Accuracy, stage by arm",
            "RL curve: rl",
            "Were the arms given",
            "Tokens by source",
            "What the models write",
            "Where several contrasts are named",
            "jax 0.10.2",
        )
    ]
    assert places == sorted(places)
    for seed_value in next(r["values"] for r in results["summary"] if r["metric"] == "accuracy"):
        assert f"{seed_value:.2f}" in text
    for arm in ARMS:
        assert f"changes pretrain.data.arm = {arm}" in text
    assert "✓ right" in text
    assert "✗ wrong" in text


def test_a_function_with_arguments_is_said_as_it_is_called(tmp_path):
    write_study(tmp_path, seeds=1, problems=8)
    path = tmp_path / "study.json"
    info = json.loads(path.read_text())
    partial = {"function": "schedules.early 0123abcd", "args": [], "keywords": {"span": 0.5}}
    info["config"]["arms"][ARMS[0]] = {"pretrain": {"data": {"schedule": partial}}}
    path.write_text(json.dumps(info))
    build_report(tmp_path)
    page = (tmp_path / "report" / "index.html").read_text()
    assert "changes pretrain.data.schedule = schedules.early(span=0.5)<" in page


def test_hostile_completions_come_out_as_text(tmp_path):
    hostile = {"greedy": "\n".join(HOSTILE), "sample": "long " * 5_000}
    write_study(tmp_path, seeds=1, problems=8, completions=hostile)
    build_report(tmp_path)
    source = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    page = Page(source)
    page.check_harmless()
    text = "".join(page.text)
    assert "<script>alert(1)</script>" in text
    assert "</style></pre></body><img src=x onerror=alert(1)>" in text
    assert "{{ 7*7 }}{% raw %} &lt;b&gt; \"'`" in text
    assert "⟨U+0000⟩⟨U+0007⟩⟨U+001B⟩[31mred" in text
    assert "⟨U+D800⟩ lone ⟨U+DFFF⟩" in text
    assert "⟨U+202E⟩gnp.exe⟨U+2066⟩ ⟨U+200B⟩⟨U+2028⟩⟨U+FEFF⟩" in text
    assert "… (24,400 more characters)" in text
    assert not any(c in source for c in "\x00\x07\x1b\x7f\x85\u202e\u2066\u200b\u2028\ufeff")


def test_hostile_names_come_out_as_text_in_page_and_plots(tmp_path):
    arms = (EVIL, "$模型$")
    logits = dict(zip(arms, LOGITS.values(), strict=False))
    study = write_study(
        tmp_path,
        seeds=2,
        problems=4,
        arms=("a", "b"),
        logits={"a": logits[arms[0]], "b": logits[arms[1]]},
        name=EVIL,
    )
    names = {"a": arms[0], "b": arms[1]}
    for node in study["nodes"]:
        node["arm"] = names[node["arm"]]
    for question in study["questions"].values():
        question |= {"text": EVIL, "treated": arms[1], "control": arms[0]}
    study |= {
        "arms": list(arms),
        "contrasts": [],
        "named_first": {**study["named_first"], "verdict_rules": EVIL, "questions": {}},
        "config": {"arms": {arm: {EVIL: EVIL} for arm in arms}},
    }
    (tmp_path / "study.json").write_text(json.dumps(study))
    for path in (tmp_path / "stages").glob("*/stage.json"):
        made_by = [{"versions": {EVIL: EVIL}, "git": EVIL, "device": EVIL}]
        path.write_text(json.dumps({**json.loads(path.read_text()), "made_by": made_by}))
    build_report(tmp_path)
    page = Page((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    page.check_harmless()
    shown = EVIL.replace("\u202e", "⟨U+202E⟩")
    assert "".join(page.text).count(shown) > 10
    for path in (tmp_path / "report").glob("*.svg"):
        root = ElementTree.fromstring(path.read_bytes())
        assert {e.tag.rpartition("}")[2] for e in root.iter()} <= {
            "svg",
            "defs",
            "style",
            "g",
            "path",
            "use",
            "text",
            "clipPath",
            "rect",
            "tspan",
        }
    drawn = "".join(
        ElementTree.parse(tmp_path / "report" / "accuracy_by_stage.svg").getroot().itertext()
    )
    assert "$模型$" in drawn
    assert "<b onload=x>$a" in drawn


def test_of_many_stages_all_have_their_accuracy_and_few_their_curves(built):
    results = json.loads((built / "report" / "results.json").read_text(encoding="utf-8"))
    for key in ("curves", "summary"):
        last = [row for row in results[key] if row["stage"] == results["stages"][-1]]
        results[key] += [{**row, "stage": f"more_{n}"} for row in last for n in range(6)]
    results["stages"] += [f"more_{n}" for n in range(6)]
    drawn = {plot.name: plot.svg for plot in draw(results)}
    asked = {answer["stage"] for answer in results["answers"].values()}
    assert all(f">{stage}<" in drawn["accuracy_by_stage"] for stage in results["stages"])
    for name, most in (("pass_at_k", 4), ("accuracy_by_level", 6)):
        shown = {stage for stage in results["stages"] if f">{stage}<" in drawn[name]}
        assert len(shown) == most
        assert {results["stages"][0], results["stages"][-1], *asked} <= shown


def test_the_same_records_give_the_same_bytes(built, tmp_path):
    first = outputs(built)
    assert {
        "index.html",
        "results.json",
        "accuracy_by_stage.svg",
        "pass_at_k.svg",
        "difference_1.svg",
        "rl_curve_0.svg",
        "accuracy_by_level.svg",
    } <= first.keys()
    again = shutil.copytree(built, tmp_path / "elsewhere", ignore=lambda *_: ["report"])
    build_report(again)
    assert outputs(again) == first
    build_report(built)
    assert outputs(built) == first, "no draft is left behind either"


def test_a_failed_build_leaves_the_last_report_whole(built, tmp_path, monkeypatch):
    workdir = shutil.copytree(built, tmp_path / "copy")
    before = outputs(workdir)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        build_report(workdir)
    assert outputs(workdir) == before


def test_an_unfinished_study_says_so_on_the_page(built, tmp_path):
    workdir = shutil.copytree(built, tmp_path / "copy")
    shutil.rmtree(workdir / "stages" / "rl-baked_in-1")
    shutil.rmtree(workdir / "stages" / "eval-rl-baked_in-1")
    build_report(workdir)
    text = " ".join(" ".join(Page((workdir / "report" / "index.html").read_text()).text).split())
    assert "Unfinished study. 1 of 24 stages are missing" in text
    assert "rl of baked_in, seed 1: not started" in text


def test_a_study_that_has_only_begun_has_a_page(built, tmp_path):
    workdir = shutil.copytree(built, tmp_path / "copy", ignore=lambda *_: ["report", "stages"])
    build_report(workdir)
    page = Page((workdir / "report" / "index.html").read_text())
    page.check_harmless()
    assert "No samples were recorded." in " ".join(page.text)


def test_a_study_of_the_smallest_size_has_a_page(tmp_path):
    write_study(tmp_path, seeds=1, problems=2, n=1, facts=0, arms=("standard",))
    study = json.loads((tmp_path / "study.json").read_text())
    study["questions"] = {}
    (tmp_path / "study.json").write_text(json.dumps(study))
    for path in (tmp_path / "stages").glob("rl*/records.jsonl"):  # a curve of two points
        lines = path.read_text().splitlines()
        kept = [x for x in lines if "heldout" not in x or '"step": 0,' in x or '"step": 30,' in x]
        path.write_text("\n".join(kept) + "\n")
    build_report(tmp_path)
    page = Page((tmp_path / "report" / "index.html").read_text())
    page.check_harmless()
    assert "This study asks no questions." in " ".join(page.text)


def test_labels_are_spread_and_stay_inside():
    assert spread([0.1, 0.5, 0.9], gap=0.1, low=0, high=1) == [0.1, 0.5, 0.9]
    places = spread([0.95, 0.97, 0.99], gap=0.1, low=0, high=1)
    assert places == pytest.approx([0.8, 0.9, 1.0])
    assert spread([0.0, 0.0], gap=0.1, low=0, high=1) == pytest.approx([0.0, 0.1])
