//! CVAT's export in XML, "CVAT for images 1.1": pictures with tags, boxes, polygons, lines and points. Who
//! labelled is written for the whole task or, of a job's export, for that job.

use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Value, json};

use super::{Label, broken};
use crate::Error;

/// Elements that are labels, and what they are.
const SHAPES: [(&str, &str); 7] = [
    ("tag", "class"),
    ("box", "box"),
    ("polygon", "polygon"),
    ("polyline", "line"),
    ("points", "point"),
    ("ellipse", "ellipse"),
    ("mask", "mask"),
];

pub(super) fn read(path: &Path, text: &str) -> Result<Vec<Label>, Error> {
    let mut reader = Reader::from_str(text);
    let mut labels = Vec::new();
    let mut seen_root = false;
    let (mut image, mut annotator, mut assignee): (Option<String>, Option<String>, bool) =
        (None, None, false);
    loop {
        let fault = |at: u64, reason: &str| {
            let before = text.get(..usize::try_from(at).unwrap_or(0)).unwrap_or_default();
            broken(path, &format!("line {}: {reason}", before.matches('\n').count() + 1))
        };
        let event =
            reader.read_event().map_err(|error| fault(reader.error_position(), &error.to_string()))?;
        let at = reader.buffer_position();
        match event {
            Event::Start(element) | Event::Empty(element) => {
                let name = element.name();
                match name.0 {
                    "annotations" => seen_root = true,
                    "image" => {
                        let name =
                            attribute(&element, "name").ok_or_else(|| fault(at, "a picture has no name"))?;
                        image = Some(name);
                    }
                    "track" => {
                        return Err(fault(at, "it is of a video: export it as `CVAT for images 1.1`"));
                    }
                    "assignee" => assignee = true,
                    other => {
                        let kind = SHAPES.iter().find(|(name, _)| *name == other).map(|(_, kind)| *kind);
                        if let (Some(kind), Some(image)) = (kind, &image) {
                            let label = attribute(&element, "label")
                                .ok_or_else(|| fault(at, "a shape has no label"))?;
                            let (region, shape) = place(&element).map_err(|reason| fault(at, &reason))?;
                            labels.push(Label {
                                annotator: annotator.clone(),
                                kind: kind.to_owned(),
                                region,
                                shape,
                                ..Label::class(image, &label)
                            });
                        }
                    }
                }
            }
            Event::End(element) => match element.name().0 {
                "image" => image = None,
                "assignee" => assignee = false,
                _ => {}
            },
            Event::Text(said) if assignee => {
                let said = said.trim().to_owned();
                // The name comes first, an address after it.
                if !said.is_empty() && annotator.is_none() {
                    annotator = Some(said);
                }
            }
            Event::Eof if seen_root => return Ok(labels),
            Event::Eof => return Err(broken(path, "it is no export of CVAT: there is no `annotations`")),
            _ => {}
        }
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = element.try_get_attribute(name).ok()??;
    let raw = attribute.value;
    Some(quick_xml::escape::unescape(&raw).map_or_else(|_| raw.to_string(), std::borrow::Cow::into_owned))
}

/// Of a box its place; of the others their points.
fn place(element: &BytesStart<'_>) -> Result<(Option<[f64; 4]>, Option<Value>), String> {
    let number = |name: &str| -> Result<Option<f64>, String> {
        let Some(text) = attribute(element, name) else { return Ok(None) };
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        number.map(Some).ok_or_else(|| format!("`{name}` is `{text}`, which is no number"))
    };
    if let (Some(left), Some(top), Some(right), Some(bottom)) =
        (number("xtl")?, number("ytl")?, number("xbr")?, number("ybr")?)
    {
        return Ok((Some([left, top, right - left, bottom - top]), None));
    }
    if let (Some(x), Some(y), Some(rx), Some(ry)) =
        (number("cx")?, number("cy")?, number("rx")?, number("ry")?)
    {
        return Ok((Some([x - rx, y - ry, 2.0 * rx, 2.0 * ry]), None));
    }
    if let (Some(left), Some(top), Some(width), Some(height)) =
        (number("left")?, number("top")?, number("width")?, number("height")?)
    {
        return Ok((Some([left, top, width, height]), attribute(element, "rle").map(Value::from)));
    }
    let Some(points) = attribute(element, "points") else { return Ok((None, None)) };
    let mut all = Vec::new();
    for point in points.split(';') {
        let pair =
            point.split_once(',').and_then(|(x, y)| Some((x.parse::<f64>().ok()?, y.parse::<f64>().ok()?)));
        let (x, y) = pair.ok_or_else(|| format!("`{point}` is no point"))?;
        all.push(json!([x, y]));
    }
    Ok((None, Some(Value::Array(all))))
}
