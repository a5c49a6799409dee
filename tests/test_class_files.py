"""Lists of classes as tools write them: read by one form, or refused by the line."""

import pytest
from PIL import Image
from test_folder import LAYOUTS, build, write

from segzoo.data.labels.class_files import find_classes
from segzoo.errors import SegzooError

NAMES, IDS = ("road", "traffic light", "2 wheeler"), (0, 1, 2)
COLOURS = ((10, 20, 30), (200, 0, 0), (0, 200, 0))

BY_PLACE = {
    "names": 'road\ntraffic light\n"2 wheeler"\n',
    "trailing separators": "road,\ntraffic light,\n'2 wheeler',\n",
    "one line": 'road, traffic light, "2 wheeler"',
    "JSON list": '["road", "traffic light", "2 wheeler"]',
}
WITH_IDS = {
    "Roboflow": "Pixel Value, Class\n0, road\n1, traffic light\n2, 2 wheeler\n",
    "id name": "0 road\n1 traffic light\n2 '2 wheeler'\n",
    "id tab name": "id\tname\n0\troad\n1\ttraffic light\n2\t2 wheeler\n",
    "name,id": "name,id\nroad,0\ntraffic light,1\n2 wheeler,2\n",
    "semicolons": "0;road;\n1;traffic light;\n2;2 wheeler;\n",
    "colons": "0: road\n1: traffic light\n2: 2 wheeler\n",
    "label is the number": "label,name\n0,road\n1,traffic light\n2,2 wheeler\n",
    "in another order": "2,2 wheeler\n0,road\n1,traffic light\n",
    "id2label": '{"0": "road", "1": "traffic light", "2": "2 wheeler"}',
    "label2id": '{"road": 0, "traffic light": 1, "2 wheeler": 2}',
    "objects": '[{"id": 0, "name": "road"}, {"id": 1, "name": "traffic light"}, '
    '{"id": 2, "name": "2 wheeler"}]',
}
WITH_COLOURS = {
    "CVAT": "# label:color_rgb:parts:actions\nroad:10,20,30::\ntraffic light:200,0,0::\n"
    "2 wheeler:0,200,0::\n",
    "class_dict": "name,r,g,b\nroad,10,20,30\ntraffic light,200,0,0\n2 wheeler,0,200,0\n",
    "titles in another order": "b,g,r,name\n30,20,10,road\n0,0,200,traffic light\n"
    "0,200,0,2 wheeler\n",
    "label_colors": '10 20 30\troad\n200 0 0\t\ttraffic light\n0 200 0\t"2 wheeler"\n',
    "red green blue name": "10 20 30 road\n200 0 0 traffic light\n0 200 0 '2 wheeler'\n",
    "commas and spaces": "10, 20, 30 road\n200, 0, 0 traffic light\n0, 200, 0 '2 wheeler'\n",
    "name red green blue": "road 10 20 30\ntraffic light 200 0 0\n2 wheeler 0 200 0\n",
    "hex": "#0a141e road\n#c80000 traffic light\n#00c800 '2 wheeler'\n",
    "hex after a comment": "# colours\nroad,#0a141e\ntraffic light,#C80000\n2 wheeler,#00C800\n",
    "id name r g b": "0,road,10,20,30\n1,traffic light,200,0,0\n2,2 wheeler,0,200,0\n",
    "FreeSurfer": "0 road 10 20 30 0\n1 'traffic light' 200 0 0 0\n2 '2 wheeler' 0 200 0 0\n",
    "JSON": '{"road": [10, 20, 30], "traffic light": [200, 0, 0], "2 wheeler": [0, 200, 0]}',
}


def read(tmp_path, text, encoding="utf-8"):
    (tmp_path / "list.txt").write_bytes(text.encode(encoding))
    return find_classes("list.txt", tmp_path)


@pytest.mark.parametrize("form", [*BY_PLACE, *WITH_IDS, *WITH_COLOURS])
@pytest.mark.parametrize("how", ["plain", "BOM", "UTF-16", "CRLF", "blank lines"])
def test_each_form_is_understood(tmp_path, form, how):
    text = {**BY_PLACE, **WITH_IDS, **WITH_COLOURS}[form]
    if how == "CRLF":
        text = text.replace("\n", "\r\n")
    elif how == "blank lines":
        text = "\n" + text.replace("\n", "\n  \n\n")
    classes = read(tmp_path, text, {"BOM": "utf-8-sig", "UTF-16": "utf-16"}.get(how, "utf-8"))
    assert (classes.names, classes.values) == (NAMES, IDS)
    assert classes.colours == (COLOURS if form in WITH_COLOURS else ())
    assert "list.txt" in classes.said


def test_ids_may_have_gaps_and_begin_at_one(tmp_path):
    classes = read(tmp_path, "1 road\n7 sky\n")
    assert (classes.names, classes.values) == (("road", "sky"), (1, 7))
    write(tmp_path, LAYOUTS["two folders"], masks=lambda m: m.point(lambda v: (1, 7)[v > 0]))
    built = build(tmp_path, classes="list.txt")
    assert built.classes == ("road", "sky")
    assert built[0].target.unique().tolist() == [0, 1]


def test_colours_by_id_in_json_keep_their_ids(tmp_path):
    classes = read(tmp_path, '{"0": [0, 0, 0], "7": [255, 0, 0]}')
    assert (classes.values, classes.colours) == ((0, 7), ((0, 0, 0), (255, 0, 0)))


def test_what_labelme_ignores_is_before_the_first_id(tmp_path):
    classes = read(tmp_path, "__ignore__\n_background_\ncat\ndog\n")
    assert classes.values == (-1, 0, 1, 2)
    write(tmp_path, LAYOUTS["two folders"])
    built = build(tmp_path, classes="list.txt")
    assert built.classes == ("_background_", "cat", "dog")
    assert set(built[0].target.unique().tolist()) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "0 road\n1 sky\ncar\n",
            "line 3: `car` does not fit.*`id name`; understood before",
        ),
        ("road\nsky\n2 wheeler\n", "line 1: `road` does not fit.*\n.*quotes"),
        ("0\troad\n1\tsky\textra\n", "line 2: `1 sky extra` does not fit"),
        ("name\nroad\nsky\n", "line 1: `name` may be a title or a class"),
        ("names:\n  0: road\n  1: sky\n", "line 1: `names:` does not fit"),
        ("id,name,group\n0,road,a\n1,sky,b\n", "line 1"),
        ("5 6 road\n7 8 sky\n", "not clear which columns"),
        ("0 0 0 255 road\n9 0 0 255 sky\n", "not clear which columns"),
        ("0.1 0.2 0.3 road\n0.4 0.5 0.6 sky\n", "does not look like the name of a class"),
        ("300 0 0 road\n1 1 1 sky\n", "line 1: .* no colour of three numbers 0..255"),
        ("1\n2\n3\n", "`1` does not look like the name"),
        ("a/1.png b/1.png\na/2.png b/2.png\n", "does not look like the name"),
        ("road # good\nsky\n", "does not look like the name"),
        ("#ff0000 road\nsky\n", "line 1: .* begins like a comment and reads like a colour"),
        ("0 road\n1 sky\n1 car\n", "lines 2 and 3 give the id 1 to `sky` and `car`"),
        ("0 road\n1 road\n", "names the class `road` twice"),
        ("0 0 0 a\n0 0 0 b\n", r"two classes have the colour \(0, 0, 0\): `a`, `b`"),
        ("# nothing\n", "lists no classes"),
        ('{"classes": [{"title": "a"}]}', "not clear what the classes are"),
        ('["a", 1]', "not clear what the classes are"),
        ('{"a": 0,', "is not valid JSON"),
        ("a\0b\n", "is not a text"),
        ("1. road\n2. sky\n", "`1. road` does not look like the name"),
        ("1) road\n2) sky\n", "`1\\) road` does not look like the name"),
        ("- road\n- sky\n", "`- road` does not look like the name"),
        ("\uff10 road\n\uff11 sky\n", "does not look like the name"),
        ("road\u2028sky\u2028car\n", "does not look like the name"),
        ("0x000000 road\n0xff0000 sky\n", "does not look like the name"),
        ("000000 road\n800000 sky\n", "`000000 road` may be an id or a colour"),
        ("road,008000\nsky,800000\n", "`road 008000` may be an id or a colour"),
        ("name,r,g,b\n", "is titles, and no class follows"),
        ('{"0": "road", "0": "sky"}', "has `0` twice"),
        ('[{"name": "road", "id": "x"}]', "not clear what the classes are"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_line(tmp_path, text, message):
    with pytest.raises(SegzooError, match=rf"list\.txt.*{message}"):
        read(tmp_path, text)


@pytest.mark.parametrize("given", ["clases.csv", "train/x.csv", "list.json", "road", "a\\b,c"])
def test_a_misspelt_file_is_no_class(tmp_path, given):
    write(tmp_path, LAYOUTS["split first"])
    (tmp_path / "train" / "_classes.csv").write_text("0,road\n1,sky\n2,car\n")
    with pytest.raises(SegzooError, match=r"no such file.*\n(did you mean train/_classes\.csv)?"):
        build(tmp_path, classes=given)
    with pytest.raises(SegzooError, match=r"did you mean train/_classes\.csv\?"):
        build(tmp_path, classes="clases.csv")
    assert build(tmp_path, classes="train/_classes.csv").classes == ("road", "sky", "car")


@pytest.mark.parametrize("name", ["train/_classes.csv", "labelmap.txt", "train/class_dict.csv"])
def test_a_list_that_is_not_used_is_spoken_of(tmp_path, name):
    write(tmp_path, LAYOUTS["split first"])
    (tmp_path / name).write_text("0,road\n1,sky\n2,car\n")
    assert any(f"-O classes={name} uses it" in notice for notice in build(tmp_path).notices)
    assert build(tmp_path, classes=name).notices == ()
    for path in (tmp_path / "train" / "masks").iterdir():
        Image.new("RGB", (32, 24), (200, 0, 0)).save(path)
    with pytest.raises(SegzooError, match=f"is a colour mask\n{name} lists classes"):
        build(tmp_path)


def test_a_list_in_a_form_that_is_not_read_is_named(tmp_path):
    write(tmp_path, LAYOUTS["two folders"])
    (tmp_path / "meta.json").write_text("{}")
    assert "meta.json may name the classes" in build(tmp_path).notices[0]


def test_what_is_called_void_is_ignored_wherever_it_is(tmp_path):
    write(tmp_path, LAYOUTS["two folders"])
    for names, rest, values in (
        ("void,a,b", ("a", "b"), {0: 255, 1: 0, 2: 1}),
        ("a,unlabeled,b", ("a", "b"), {0: 0, 1: 255, 2: 1}),
        ("a,b,Ignore", ("a", "b"), {0: 0, 1: 1, 2: 255}),
    ):
        built = build(tmp_path, classes=names, val=0.0)
        plain = build(tmp_path, val=0.0)
        assert built.classes == rest
        for k in range(len(built)):
            expected = plain[k].target.clone().apply_(lambda value, table=values: table[value])
            assert expected.equal(built[k].target)
        assert len(build(tmp_path, classes=names, ignore="nothing").classes) == 3


@pytest.mark.parametrize("form", [*BY_PLACE, *WITH_IDS, *WITH_COLOURS, "LabelMe"])
def test_what_a_file_lists_can_be_given_without_the_file(tmp_path, form):
    text = {**BY_PLACE, **WITH_IDS, **WITH_COLOURS, "LabelMe": "__ignore__\na\nb\n"}[form]
    (tmp_path / "classes.txt").write_text(text)
    listed = find_classes("classes.txt", tmp_path)
    again = find_classes(listed.inline(), tmp_path / "gone")
    assert (again.names, again.values, again.colours) == (
        *(listed.names, listed.values, listed.colours),
    )


def test_the_weights_file_has_what_the_list_says_and_not_where_it_is(tmp_path):
    write(tmp_path / "data", LAYOUTS["two folders"])
    (tmp_path / "names.txt").write_text("ground\ndisc\nbox\n")
    built = build(tmp_path / "data", classes=str(tmp_path / "names.txt"))
    kept = built.resolved_options["classes"]
    assert str(tmp_path) not in kept
    (tmp_path / "names.txt").unlink()
    assert build(tmp_path / "data", classes=kept).classes == ("ground", "disc", "box")
    assert "classes" not in build(tmp_path / "data", classes="a,b,c").resolved_options


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sky\n#cat\ndog\n", "`#cat` (line 2)"),
        ("#cat\n0 sky\n1 dog\n", "`#cat` (line 1)"),
        ("# cat\nsky\ndog\n", ""),
        ("#name\nsky\ndog\n", ""),
        ("#ff0000 sky\n#00ff00 dog\n", ""),
        ('sky\n"#cat"\n', ""),
    ],
)
def test_a_comment_that_may_be_a_class_is_said(tmp_path, text, said):
    found = read(tmp_path, text)
    assert (said in found.doubt) if said else not found.doubt
