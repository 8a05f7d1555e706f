//! Folders of pictures: sizes, colours, what is broken, what is there twice, what is far too dark or light.
//!
//! Each file is read and decoded once, in parallel; what is kept of it is a line. Labels are the folders
//! that files lie in.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use rondo_core::Digest;
use serde::{Deserialize, Serialize};

use super::decode::{Picture, decode};
use super::files::{Fault, FileEntry, Spread, named, read};

/// Two pictures whose perceptual hashes differ in no more bits look the same.
const NEAR: u32 = 3;
/// Candidates of one picture that are compared.
const CANDIDATES: usize = 256;
/// A picture is an outlier by its lightness when it is so many deviations from the middle.
const FAR: f64 = 5.0;
/// A picture whose lightness varies less than this has no features to compare.
const FLAT: f64 = 2.0;

/// A folder of pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PictureProfile {
    /// How many files are pictures by their name or bytes.
    pub pictures: u64,
    /// Of how many of them the pixels were looked at; fewer where a sample was asked for.
    pub looked_at: u64,
    /// Other files, which were not looked at.
    pub other_files: u64,
    /// Bytes of those that were looked at.
    pub bytes: u64,
    /// How many of each format.
    pub formats: BTreeMap<String, u64>,
    /// How many of each mode.
    pub modes: BTreeMap<String, u64>,
    /// Widths in pixels.
    pub width: Spread,
    /// Heights in pixels.
    pub height: Spread,
    /// The commonest sizes with their counts.
    pub sizes: Vec<(String, u64)>,
    /// How many sizes there are.
    pub different_sizes: u64,
    /// The mean of red, green and blue over all pixels, 0 to 1.
    pub channel_means: [f64; 3],
    /// Their deviation.
    pub channel_stds: [f64; 3],
    /// The lightness of pictures, 0 to 1.
    pub lightness: Spread,
    /// Counts of pictures by lightness in twenty steps.
    pub lightness_histogram: Vec<f64>,
    /// How many lie in each folder, by its name.
    pub labels: BTreeMap<String, u64>,
    /// Files that are no pictures that can be read: name and reason.
    pub broken: Vec<(String, String)>,
    /// How many are broken.
    pub broken_count: u64,
    /// Groups of files with the same bytes.
    pub same: Groups,
    /// Groups of pictures that look the same but have other bytes.
    pub alike: Groups,
    /// Pictures that are far darker or lighter than the others, with their lightness.
    pub outliers: Vec<(String, f64)>,
    /// How many there are.
    pub outlier_count: u64,
    /// How many could not be read or have other bytes than those that were added.
    #[serde(skip)]
    pub(super) unsound: u64,
}

/// Groups of files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// How many files are one more than needed.
    pub files: u64,
    /// How many groups there are.
    pub count: u64,
    /// Some of them, the largest first; of each some names.
    pub examples: Vec<Vec<String>>,
}

/// What is kept of one picture.
struct Facts {
    format: &'static str,
    mode: &'static str,
    width: u32,
    height: u32,
    /// Of each channel the sum and the sum of squares.
    sums: [(f64, f64); 3],
    lightness: f64,
    /// Nothing of a flat picture.
    hash: Option<u64>,
}

struct Looked {
    size: u64,
    digest: Digest,
    facts: Result<Facts, Fault>,
}

/// Looks at pictures; `other_files` lie beside them, and of `all` these are a sample or all.
pub fn profile(files: &[&FileEntry], all: u64, other_files: u64) -> PictureProfile {
    let looked: Vec<(&str, Looked)> = files.par_iter().map(|file| (file.name.as_str(), look(file))).collect();
    let good: Vec<(&str, &Looked, &Facts)> = looked
        .iter()
        .filter_map(|(name, looked)| Some((*name, looked, looked.facts.as_ref().ok()?)))
        .collect();
    let broken: Vec<(String, String)> = looked
        .iter()
        .filter_map(|(name, looked)| Some((named(name), looked.facts.as_ref().err()?.reason.clone())))
        .collect();
    let count = |of: &dyn Fn(&Facts) -> String| {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        good.iter().for_each(|(_, _, facts)| *counts.entry(of(facts)).or_insert(0) += 1);
        counts
    };
    let mut sizes: Vec<(String, u64)> =
        count(&|facts| format!("{} × {}", facts.width, facts.height)).into_iter().collect();
    sizes.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let different_sizes = sizes.len() as u64;
    sizes.truncate(10);
    let mut labels = BTreeMap::new();
    for (name, _) in &looked {
        if let Some((folder, _)) = name.rsplit_once('/') {
            let label = folder.rsplit('/').next().unwrap_or(folder);
            *labels.entry(named(label)).or_insert(0) += 1;
        }
    }
    let (channel_means, channel_stds) = channels(&good);
    let lightness: Vec<f64> = good.iter().map(|(_, _, facts)| facts.lightness).collect();
    let outliers = outliers(&good, &lightness);
    let mut histogram = vec![0.0; 20];
    for value in &lightness {
        if let Some(slot) = histogram.get_mut(((value * 20.0) as usize).min(19)) {
            *slot += 1.0;
        }
    }
    let same = same_bytes(&looked);
    PictureProfile {
        pictures: all,
        looked_at: looked.len() as u64,
        other_files,
        bytes: looked.iter().map(|(_, looked)| looked.size).sum(),
        formats: count(&|facts| facts.format.to_owned()),
        modes: count(&|facts| facts.mode.to_owned()),
        width: Spread::of(good.iter().map(|(_, _, facts)| f64::from(facts.width)).collect()),
        height: Spread::of(good.iter().map(|(_, _, facts)| f64::from(facts.height)).collect()),
        sizes,
        different_sizes,
        channel_means,
        channel_stds,
        lightness: Spread::of(lightness),
        lightness_histogram: histogram,
        labels,
        broken_count: broken.len() as u64,
        broken: broken.into_iter().take(50).collect(),
        same,
        alike: look_alike(&good),
        outlier_count: outliers.len() as u64,
        outliers: outliers.into_iter().take(20).collect(),
        unsound: looked
            .iter()
            .filter(|(_, looked)| looked.facts.as_ref().err().is_some_and(|fault| fault.unsound))
            .count() as u64,
    }
}

fn look(file: &FileEntry) -> Looked {
    match read(file) {
        Ok((bytes, digest)) => {
            let facts = decode(&bytes).map(|picture| facts(&picture)).map_err(Fault::from);
            Looked { size: bytes.len() as u64, digest, facts }
        }
        Err(fault) => Looked { size: 0, digest: Digest::of(file.name.as_bytes()), facts: Err(fault) },
    }
}

fn facts(picture: &Picture) -> Facts {
    let mut sums = [(0_u64, 0_u64); 3];
    let mut light = 0.0;
    let mut light_squares = 0.0;
    for pixel in picture.pixels.chunks_exact(picture.channels) {
        let rgb = rgb(pixel);
        for ((sum, squares), value) in sums.iter_mut().zip(rgb) {
            *sum += u64::from(value);
            *squares += u64::from(value) * u64::from(value);
        }
        let value = lightness(rgb);
        light += value;
        light_squares += value * value;
    }
    let pixels = f64::from(picture.width) * f64::from(picture.height);
    let mean = light / pixels;
    let deviation = (light_squares / pixels - mean * mean).max(0.0).sqrt();
    Facts {
        format: picture.format,
        mode: picture.mode,
        width: picture.width,
        height: picture.height,
        sums: sums.map(|(sum, squares)| (sum as f64 / 255.0, squares as f64 / 65_025.0)),
        lightness: mean / 255.0,
        hash: (deviation >= FLAT).then(|| difference_hash(picture)),
    }
}

fn rgb(pixel: &[u8]) -> [u8; 3] {
    match *pixel {
        [gray] | [gray, _] => [gray; 3],
        [r, g, b] | [r, g, b, _] => [r, g, b],
        _ => [0; 3],
    }
}

/// By the weights of ITU-R BT.601.
fn lightness([r, g, b]: [u8; 3]) -> f64 {
    0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)
}

/// The difference hash: scaled to 9 × 8, whether each square is lighter than the one to its right.
fn difference_hash(picture: &Picture) -> u64 {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let mut squares = [[(0.0, 0_u32); 9]; 8];
    // No more than so many rows and columns are needed for 72 squares.
    let (step_x, step_y) = ((width / 288).max(1), (height / 256).max(1));
    for y in (0..height).step_by(step_y) {
        for x in (0..width).step_by(step_x) {
            let at = (y * width + x) * picture.channels;
            let Some(pixel) = picture.pixels.get(at..at + picture.channels) else { continue };
            let square = squares.get_mut(y * 8 / height).and_then(|row| row.get_mut(x * 9 / width));
            if let Some((sum, count)) = square {
                *sum += lightness(rgb(pixel));
                *count += 1;
            }
        }
    }
    let mut hash = 0;
    for row in &squares {
        // A picture narrower than nine pixels leaves squares empty: they are as their left neighbours.
        let mut last = 0.0;
        let means = row.map(|(sum, count)| {
            last = if count > 0 { sum / f64::from(count) } else { last };
            last
        });
        for pair in means.windows(2) {
            hash = hash << 1 | u64::from(matches!(pair, [a, b] if a > b));
        }
    }
    hash
}

fn channels(good: &[(&str, &Looked, &Facts)]) -> ([f64; 3], [f64; 3]) {
    let mut totals = [(0.0, 0.0); 3];
    let mut pixels = 0.0;
    for (_, _, facts) in good {
        pixels += f64::from(facts.width) * f64::from(facts.height);
        for ((sum, squares), (one, its_squares)) in totals.iter_mut().zip(facts.sums) {
            *sum += one;
            *squares += its_squares;
        }
    }
    if pixels == 0.0 {
        return ([0.0; 3], [0.0; 3]);
    }
    let means = totals.map(|(sum, _)| sum / pixels);
    let stds = totals.map(|(sum, squares)| {
        let mean = sum / pixels;
        (squares / pixels - mean * mean).max(0.0).sqrt()
    });
    (means, stds)
}

/// By how many median deviations each is from the median, the farthest first.
fn outliers(good: &[(&str, &Looked, &Facts)], lightness: &[f64]) -> Vec<(String, f64)> {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    if lightness.len() < 8 {
        return Vec::new();
    }
    let middle = median(lightness.to_vec());
    let deviation = 1.4826 * median(lightness.iter().map(|value| (value - middle).abs()).collect());
    let far = |value: f64| (value - middle).abs() / deviation.max(0.01);
    let mut found: Vec<(String, f64)> = good
        .iter()
        .map(|(name, _, facts)| (named(name), facts.lightness))
        .filter(|(_, value)| far(*value) > FAR)
        .collect();
    found.sort_by(|a, b| far(b.1).total_cmp(&far(a.1)));
    found
}

fn same_bytes(looked: &[(&str, Looked)]) -> Groups {
    let mut groups: HashMap<Digest, Vec<&str>> = HashMap::new();
    for (name, looked) in looked.iter().filter(|(_, looked)| looked.facts.is_ok()) {
        groups.entry(looked.digest).or_default().push(name);
    }
    grouped(groups.into_values().collect())
}

/// Pictures whose hashes are near each other. Hashes that differ in three bits at most have one of four
/// quarters in common.
fn look_alike(good: &[(&str, &Looked, &Facts)]) -> Groups {
    let mut seen: HashMap<Digest, ()> = HashMap::new();
    let different: Vec<(&str, u64)> = good
        .iter()
        .filter(|(_, looked, _)| seen.insert(looked.digest, ()).is_none())
        .filter_map(|(name, _, facts)| Some((*name, facts.hash?)))
        .collect();
    let mut leader: Vec<usize> = (0..different.len()).collect();
    let mut quarters: HashMap<(u32, u16), Vec<usize>> = HashMap::new();
    for (at, (_, hash)) in different.iter().enumerate() {
        for quarter in 0..4 {
            let key = (quarter, (hash >> (16 * quarter)) as u16);
            let others = quarters.entry(key).or_default();
            for other in others.iter().rev().take(CANDIDATES) {
                let near =
                    different.get(*other).is_some_and(|(_, known)| (known ^ hash).count_ones() <= NEAR);
                if near {
                    let (a, b) = (root(&leader, at), root(&leader, *other));
                    if let Some(slot) = leader.get_mut(a.max(b)) {
                        *slot = a.min(b);
                    }
                }
            }
            others.push(at);
        }
    }
    let mut groups: HashMap<usize, Vec<&str>> = HashMap::new();
    for (at, (name, _)) in different.iter().enumerate() {
        groups.entry(root(&leader, at)).or_default().push(name);
    }
    grouped(groups.into_values().collect())
}

fn root(leader: &[usize], mut at: usize) -> usize {
    while let Some(next) = leader.get(at).filter(|next| **next != at) {
        at = *next;
    }
    at
}

fn grouped(mut groups: Vec<Vec<&str>>) -> Groups {
    groups.retain(|group| group.len() > 1);
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
    Groups {
        files: groups.iter().map(|group| group.len() as u64 - 1).sum(),
        count: groups.len() as u64,
        examples: groups
            .iter()
            .take(20)
            .map(|group| group.iter().take(6).map(|name| named(name)).collect())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Writes a gray PNG whose pixels are given by place.
    fn draw(folder: &Path, name: &str, side: u32, of: impl Fn(u32, u32) -> u8) -> FileEntry {
        let path = folder.join(name.replace('/', "-"));
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, side, side);
        encoder.set_color(png::ColorType::Grayscale);
        let pixels: Vec<u8> =
            (0..side).flat_map(|y| (0..side).map(move |x| (x, y))).map(|(x, y)| of(x, y)).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        FileEntry { name: name.to_owned(), path, size: bytes.len() as u64, digest: None }
    }

    #[test]
    fn a_folder_of_pictures_is_summed_up() {
        let dir = tempfile::tempdir().unwrap();
        let wave = |k: u32| move |x: u32, y: u32| ((x * k + y * (k * k % 7)) % 200) as u8 + 20;
        let mut files: Vec<FileEntry> = (0..10)
            .map(|at| {
                draw(
                    dir.path(),
                    &format!("{}/{at}.png", ["cat", "dog"][at % 2]),
                    64,
                    wave(at as u32 * 13 + 3),
                )
            })
            .collect();
        files.push(draw(dir.path(), "cat/copy.png", 64, wave(3)));
        files.push(draw(dir.path(), "cat/larger.png", 128, |x, y| wave(16)(x / 2, y / 2)));
        files.push(draw(dir.path(), "dog/white.png", 64, |_, _| 255));
        let torn = dir.path().join("torn");
        std::fs::write(&torn, &std::fs::read(&files[0].path).unwrap()[..60]).unwrap();
        files.push(FileEntry { name: "dog/torn.png".into(), path: torn, size: 60, digest: None });
        let profile = profile(&files.iter().collect::<Vec<_>>(), 14, 2);
        assert_eq!((profile.pictures, profile.looked_at, profile.other_files), (14, 14, 2));
        assert_eq!(profile.formats, BTreeMap::from([("png".to_owned(), 13)]));
        assert_eq!(profile.modes, BTreeMap::from([("gray".to_owned(), 13)]));
        assert_eq!(profile.sizes[0], ("64 × 64".to_owned(), 12));
        assert_eq!(profile.labels, BTreeMap::from([("cat".to_owned(), 7), ("dog".to_owned(), 7)]));
        assert_eq!(profile.broken_count, 1);
        assert_eq!(profile.broken[0].0, "dog/torn.png");
        assert_eq!(profile.same.examples, [["cat/0.png", "cat/copy.png"]]);
        assert!(
            profile.alike.examples.iter().any(|group| group.contains(&"cat/larger.png".to_owned())
                && group.contains(&"dog/1.png".to_owned())),
            "{:?}",
            profile.alike
        );
        assert_eq!(profile.outliers[0], ("dog/white.png".to_owned(), 1.0));
    }

    #[test]
    fn channel_statistics_are_those_of_numpy() {
        // numpy.mean and numpy.std over [0, 51, 102, 255] / 255
        let dir = tempfile::tempdir().unwrap();
        let file = draw(dir.path(), "a.png", 2, |x, y| [[0, 51], [102, 255]][y as usize][x as usize]);
        let profile = profile(&[&file], 1, 0);
        for channel in 0..3 {
            assert!((profile.channel_means[channel] - 0.4).abs() < 1e-12);
            assert!((profile.channel_stds[channel] - 0.374_165_738_677_394_1).abs() < 1e-12);
        }
    }

    #[test]
    fn bytes_that_are_no_picture_are_refused_with_a_reason() {
        for bytes in
            [&b""[..], b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF0000WEBPVP8 "]
        {
            assert!(!decode(bytes).unwrap_err().is_empty());
        }
    }
}
