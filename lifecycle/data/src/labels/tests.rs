//! What the readers of labels promise, and the values that other programs give for the same labels.

use std::fs;

use proptest::prelude::*;

use super::*;

fn read_text(name: &str, text: &str) -> Result<Labels, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    Labels::read(&path, &ReadOptions::default())
}

fn rated(rows: &[(&str, &str, &str)]) -> Agreement {
    let labels: Vec<Label> = rows
        .iter()
        .map(|(item, who, label)| Label { annotator: Some((*who).to_owned()), ..Label::class(item, label) })
        .collect();
    agreement::of(&labels).remove(0)
}

fn near(value: Option<f64>, wanted: f64) {
    assert!(value.is_some_and(|value| (value - wanted).abs() < 1e-12), "{value:?} is not {wanted}");
}

/// The values are those of scikit-learn 1.9.1, statsmodels 0.15.0 and krippendorff 0.9.0 for these ratings.
#[test]
fn agreement_is_what_other_programs_find() {
    let two = "cat cat|cat dog|dog dog|dog dog|bird bird|cat cat|bird dog|cat cat";
    let rows: Vec<(String, &str, &str)> = two
        .split('|')
        .enumerate()
        .flat_map(|(item, pair)| {
            let (a, b) = pair.split_once(' ').unwrap();
            [(item.to_string(), "ann", a), (item.to_string(), "bob", b)]
        })
        .collect();
    let rows: Vec<(&str, &str, &str)> =
        rows.iter().map(|(item, who, label)| (item.as_str(), *who, *label)).collect();
    let agreement = rated(&rows);
    near(agreement.cohen_kappa, TWO[0]);
    near(agreement.fleiss_kappa, TWO[1]);
    near(agreement.krippendorff_alpha, TWO[2]);
    assert_eq!((agreement.items, agreement.annotators, agreement.observed), (8, 2, 0.75));
    assert_eq!(agreement.disputed, ["1", "6"]);

    // Three annotators with gaps: Krippendorff's alone has a value.
    let gaps = "1 a x|1 b x|1 c x|2 a x|2 b y|3 b y|3 c y|4 a z|4 c z|5 a z|5 b z|5 c x|6 a y";
    let rows: Vec<(&str, &str, &str)> = gaps
        .split('|')
        .map(|row| {
            let mut words = row.split(' ');
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap())
        })
        .collect();
    let agreement = rated(&rows);
    near(agreement.krippendorff_alpha, GAPS);
    assert_eq!((agreement.cohen_kappa, agreement.fleiss_kappa), (None, None));
    assert_eq!((agreement.items, agreement.annotators), (5, 3));
}

const TWO: [f64; 3] = [0.619_047_619_047_619, 0.604_938_271_604_938_3, 0.629_629_629_629_629_5];
const GAPS: f64 = 0.531_914_893_617_021_3;

#[test]
fn one_class_alone_measures_nothing() {
    let agreement = rated(&[("1", "a", "x"), ("1", "b", "x"), ("2", "a", "x"), ("2", "b", "x")]);
    assert_eq!(agreement.observed, 1.0);
    assert_eq!(
        (agreement.cohen_kappa, agreement.fleiss_kappa, agreement.krippendorff_alpha),
        (None, None, None)
    );
}

#[test]
fn folders_tables_and_exports_become_the_same_table() {
    let paths = Labels::of_paths(["train/cat/1.png", "train/dog/2.png", "loose.png"].into_iter());
    assert_eq!(
        paths.counts.iter().map(|(l, n)| (l.as_str(), *n)).collect::<Vec<_>>(),
        [("cat", 1), ("dog", 1)]
    );

    let table = read_text("l.csv", "file,label,rater\na.png,cat,ann\na.png,dog,bob\nb.png,,ann\n").unwrap();
    assert_eq!((table.items, table.all.len(), table.annotators.len(), table.format), (1, 2, 2, "table"));
    let error = read_text("l.csv", "a,b\n1,2\n").unwrap_err().to_string();
    assert!(error.contains("`item` (or"), "{error}");
}

#[test]
fn a_label_belongs_to_the_file_of_its_path_and_by_name_only_to_one_that_is_alone() {
    let files = ["a/1.png", "b/1.png", "c/2.png", "d/x/3.png", "e/x/3.png"].map(str::to_owned);
    let files = BTreeSet::from(files);
    let against = |items: &str| {
        let mut labels = read_text("l.csv", &format!("item,label\n{items}")).unwrap();
        labels.against(&files);
        (labels.unlabelled, labels.unknown, labels.ambiguous)
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (without, unknown, ambiguous) = against("a/1.png,cat\n2.png,dog\nother/2.png,dog\n");
    assert_eq!((without, unknown), (words(&["b/1.png", "d/x/3.png", "e/x/3.png"]), words(&[])));
    assert_eq!(ambiguous, words(&[]));
    let (without, unknown, ambiguous) = against("1.png,cat\nx/3.png,dog\n/data/e/x/3.png,dog\nno.png,dog\n");
    assert_eq!(without, words(&["a/1.png", "b/1.png", "c/2.png", "d/x/3.png"]));
    assert_eq!((unknown, ambiguous), (words(&["no.png"]), words(&["1.png", "x/3.png"])));
}

#[test]
fn a_column_that_is_mistyped_is_told() {
    let labels = read_text("l.csv", "item,label,anotator\na,x,ann\n").unwrap();
    assert_eq!((labels.unread.as_slice(), labels.annotators.len()), (["anotator".to_owned()].as_slice(), 0));
    let labels = read_text("l.csv", "id,item,class,label\n7,a,x,y\n").unwrap();
    assert_eq!((labels.all[0].item.as_str(), labels.all[0].label.as_str()), ("a", "y"));
    let refused = read_text("l.csv", "itm,label\na,x\n").unwrap_err().to_string();
    assert!(refused.contains("`itm`, `label`") && refused.contains("filename"), "{refused}");
}

const STUDIO: &str = r#"[
  {"id": 7, "data": {"image": "/data/local-files/?d=pics/a%201.png"}, "annotations": [
    {"completed_by": {"id": 1, "email": "ann@x.org"}, "result": [
      {"type": "choices", "from_name": "kind", "value": {"choices": ["cat"]}},
      {"type": "rectanglelabels", "from_name": "where", "original_width": 200, "original_height": 50,
       "value": {"x": 10, "y": 20, "width": 50, "height": 60, "rotation": 0, "rectanglelabels": ["head"]}}]},
    {"completed_by": 2, "result": [{"type": "choices", "from_name": "kind", "value": {"choices": ["dog"]}}]},
    {"completed_by": 3, "was_cancelled": true, "result": [{"value": {"choices": ["bird"]}}]}]},
  {"id": 8, "data": {"text": "so be it"}, "annotations": [
    {"completed_by": 1, "result": [
      {"type": "labels", "from_name": "ner", "value": {"start": 0, "end": 2, "text": "so", "labels": ["ADV"]}},
      {"type": "rating", "from_name": "stars", "value": {"rating": 4}}, {"type": "relation"}]}]}
]"#;

#[test]
fn an_export_of_label_studio_is_read() {
    let labels = read_text("l.json", STUDIO).unwrap();
    assert_eq!((labels.format, labels.items, labels.all.len()), ("label-studio", 2, 5));
    assert_eq!(labels.all[1].region, Some([20.0, 10.0, 100.0, 30.0]));
    assert_eq!(labels.all[0].annotator.as_deref(), Some("ann@x.org"));
    assert_eq!(labels.all[3].item, "8");
    assert_eq!(labels.all[3].shape, Some(serde_json::json!([0, 2])));
    assert_eq!((labels.all[4].label.as_str(), labels.all[4].kind.as_str()), ("4", "rating"));
    assert_eq!(labels.agreement.len(), 1);
    assert_eq!(labels.agreement[0].observed, 0.0);

    let short = r#"[{"id": 1, "image": "/x/a.png", "kind": "cat", "annotator": 1, "annotation_id": 5}]"#;
    let labels = read_text("l.json", short).unwrap();
    assert_eq!((labels.all[0].item.as_str(), labels.all[0].label.as_str()), ("/x/a.png", "cat"));
    let plain = read_text("l.json", r#"[{"item": "a", "label": "cat"}]"#).unwrap();
    assert_eq!(plain.format, "table");
    let error = read_text("l.json", r#"[{"annotations": []}, {"annotations": 3}]"#).unwrap_err().to_string();
    assert!(error.ends_with("task 2: its `annotations` are no list"), "{error}");
    assert!(read_text("l.json", "[{").is_err());
}

const CVAT: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
  <meta><job><assignee><username>ann</username><email>ann@x.org</email></assignee></job></meta>
  <image id="0" name="a &amp; b.png" width="100" height="50">
    <tag label="cat" source="manual"><attribute name="n">1</attribute></tag>
    <box label="head" xtl="1.5" ytl="2" xbr="11.5" ybr="22" occluded="0"></box>
    <polygon label="tail" points="1,2;3,4.5;5,6"/>
  </image>
</annotations>"#;

#[test]
fn an_export_of_cvat_is_read() {
    let labels = read_text("l.xml", CVAT).unwrap();
    assert_eq!((labels.format, labels.items, labels.all.len()), ("cvat", 1, 3));
    assert_eq!(labels.all[0].item, "a & b.png");
    assert_eq!(labels.all[0].annotator.as_deref(), Some("ann"));
    assert_eq!(labels.all[1].region, Some([1.5, 2.0, 10.0, 20.0]));
    assert_eq!(labels.all[2].shape, Some(serde_json::json!([[1.0, 2.0], [3.0, 4.5], [5.0, 6.0]])));
    for (broken, part) in [
        (CVAT.replace("xtl=\"1.5\"", "xtl=\"left\""), "line 6: `xtl` is `left`"),
        (CVAT.replace("label=\"tail\" ", ""), "line 7: a shape has no label"),
        (CVAT.replace("3,4.5", "3"), "line 7: `3` is no point"),
        (CVAT.replace("</image>", ""), "line"),
        ("<a/>".to_owned(), "it is no export of CVAT"),
        (CVAT.replace("<image ", "<track/><image "), "it is of a video"),
    ] {
        let error = read_text("l.xml", &broken).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn labels_are_held_against_the_files() {
    let mut labels = read_text("l.csv", "item,label\n/up/a.png,cat\nz.png,dog\n").unwrap();
    labels.against(&["x/a.png", "x/b.png"].map(str::to_owned).into());
    assert_eq!(
        (labels.unlabelled.as_slice(), labels.unlabelled_count),
        (["x/b.png".to_owned()].as_slice(), 1)
    );
    assert_eq!(labels.unknown, ["z.png"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.parquet");
    assert_eq!(labels.write(&path).unwrap(), 2);
    assert_eq!(read::open(&path).unwrap().columns().len(), 10);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn broken_exports_are_refused_and_never_panic(at in 0_usize..2000, with in "[\\[\\]{}<>\"/a0,]{0,3}") {
        for (name, text) in [("l.json", STUDIO), ("l.xml", CVAT)] {
            let at = at % text.len();
            let mut broken = text.to_owned();
            if text.is_char_boundary(at) {
                broken.replace_range(at..(at + 1).min(text.len()), &with);
                let _ = read_text(name, &broken);
            }
        }
    }
}
