//! Zip archives and gzip files: the contents of their members, and what is noted about them.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use flate2::read::MultiGzDecoder;
use zip::ZipArchive;

use super::{Finding, Kind, LOOKED_INTO, Marks, bytes};

struct Member {
    content: Vec<u8>,
    moment: String,
    packed: u64,
}

/// Two zip archives; nothing where one cannot be read.
pub(super) fn zip(old: &[u8], new: &[u8], marks: &Marks, depth: usize) -> Option<Vec<Finding>> {
    let ((order_a, a), (order_b, b)) = (members(old)?, members(new)?);
    let mut findings = Vec::new();
    let mut times = Vec::new();
    let mut packed = false;
    for (name, member) in &a {
        let Some(other) = b.get(name) else {
            findings.push(Finding::new(Kind::Members, "it is missing now").within(name));
            continue;
        };
        let inner = bytes(&member.content, &other.content, marks, depth + 1);
        findings.extend(inner.into_iter().map(|finding| finding.within(name)));
        if member.moment != other.moment {
            times.push((name, &member.moment, &other.moment));
        }
        packed |= member.content == other.content && member.packed != other.packed;
    }
    let come = b.keys().filter(|name| !a.contains_key(*name));
    findings.extend(come.map(|name| Finding::new(Kind::Members, "it was not there before").within(name)));
    let mut told = Vec::new();
    if let Some((name, was, is)) = times.first() {
        let more = if times.len() > 1 { format!(", and {} more", times.len() - 1) } else { String::new() };
        told.push(format!("the times of its members differ (`{name}`: {was}, now {is}{more})"));
    }
    let shared =
        |order: Vec<String>| order.into_iter().filter(|name| a.contains_key(name) && b.contains_key(name));
    if !shared(order_a).eq(shared(order_b)) {
        told.push("its members stand in another order".to_owned());
    }
    if packed {
        told.push("its members are compressed otherwise".to_owned());
    }
    if told.is_empty() && findings.is_empty() {
        told.push("what is noted of its members differs".to_owned());
    }
    if !told.is_empty() {
        findings.push(Finding::new(Kind::Archive, told.join("; ")));
    }
    Some(findings)
}

fn members(bytes: &[u8]) -> Option<(Vec<String>, BTreeMap<String, Member>)> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).ok()?;
    let (mut order, mut members) = (Vec::new(), BTreeMap::new());
    let mut left = LOOKED_INTO;
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).ok()?;
        let name = file.name().ok()?.into_owned();
        let moment = file.last_modified().map_or_else(|| "none".to_owned(), |moment| moment.to_string());
        let packed = file.compressed_size();
        let mut content = Vec::new();
        file.by_ref().take(left + 1).read_to_end(&mut content).ok()?;
        // What grows without end is not looked into.
        left = left.checked_sub(content.len() as u64)?;
        order.push(name.clone());
        members.insert(name, Member { content, moment, packed });
    }
    Some((order, members))
}

/// Two gzip files; nothing where one cannot be read.
pub(super) fn gzip(old: &[u8], new: &[u8], marks: &Marks, depth: usize) -> Option<Vec<Finding>> {
    let (a, b) = (unpacked(old)?, unpacked(new)?);
    let mut findings = bytes(&a, &b, marks, depth + 1);
    if findings.is_empty() {
        let moment =
            |bytes: &[u8]| bytes.get(4..8).and_then(|four| Some(u32::from_le_bytes(four.try_into().ok()?)));
        let text = match (moment(old)?, moment(new)?) {
            (was, is) if was != is => {
                format!("its header holds another time ({was}, now {is}); its content is the same")
            }
            _ => "its header or compression differs; its content is the same".to_owned(),
        };
        findings.push(Finding::new(Kind::Gzip, text));
    }
    Some(findings)
}

fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    MultiGzDecoder::new(bytes).take(LOOKED_INTO + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= LOOKED_INTO).then_some(content)
}
