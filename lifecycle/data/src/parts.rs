//! Splitting one big table into parts of time: a year of flights into twelve months.
//!
//! A part has the header and, byte for byte and in their order, the lines whose moment falls into its
//! day, week, month or year (UTC), so that the same table always gives the same parts. Only text tables
//! (CSV, TSV) are split; a folder of files is in parts already, one file each.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc};
use csv::ByteRecord;
use rondo_core::{Timestamp, suggest};
use rondo_project::project::{Parts, Period};

use crate::Error;
use crate::fetch::{Content, Fetched, blocking};

/// How much text is held before it is written, over all parts.
const HELD: usize = 32 << 20;

/// More parts than this are a sign of a wrong column.
const MAX_PARTS: usize = 10_000;

/// One part of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The file's name in the dataset, such as `2013-04.csv`.
    pub name: String,
    /// The beginning of its time.
    pub from: Timestamp,
    /// The end of its time, not included.
    pub until: Timestamp,
    /// Lines of a table that was split, the header not counted.
    pub rows: Option<u64>,
    /// The file.
    pub path: PathBuf,
}

/// Splits a text table by the time in a column; in the order of time.
///
/// The column holds moments or days; or name two or three whole-number columns with commas between, such
/// as `year,month,day`. The parts are written into `out`, which must exist.
///
/// # Errors
/// When it is no text table, has no such column, a line has no moment, or a file cannot be read or
/// written.
pub fn split_by_time(table: &Path, column: &str, period: Period, out: &Path) -> Result<Vec<Part>, Error> {
    let mut splitter = Splitter::open(table, column, period, out)?;
    let mut record = ByteRecord::new();
    loop {
        let start = splitter.reader.position().byte();
        let line = splitter.reader.position().line();
        match splitter.reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(splitter.refuse(&error.to_string())),
        }
        let end = splitter.reader.position().byte();
        splitter.take(&record, start, end, line)?;
    }
    splitter.finish()
}

struct Splitter {
    table: PathBuf,
    out: PathBuf,
    ending: String,
    period: Period,
    columns: Vec<usize>,
    reader: csv::Reader<BufReader<File>>,
    /// The same file again, for the bytes that the reader has understood.
    raw: BufReader<File>,
    raw_at: u64,
    header: Vec<u8>,
    newline: &'static [u8],
    parts: BTreeMap<Timestamp, Open>,
    held: usize,
    /// The last line's time text and part: tables are mostly in the order of time.
    last: Option<(Vec<u8>, Timestamp)>,
}

struct Open {
    part: Part,
    held: Vec<u8>,
}

impl Splitter {
    fn open(table: &Path, column: &str, period: Period, out: &Path) -> Result<Self, Error> {
        let name = table.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let refuse = |reason: &str| Error::Split { what: name.clone(), reason: reason.to_owned() };
        let ending = match name.rsplit_once('.').map(|(_, ending)| ending.to_lowercase()) {
            Some(ending) if ["csv", "tsv", "tab", "txt"].contains(&ending.as_str()) => ending,
            Some(_) | None => {
                return Err(refuse("only text tables (csv, tsv) are split; give one file for each part"));
            }
        };
        let open = || -> Result<BufReader<File>, Error> {
            Ok(BufReader::with_capacity(1 << 17, File::open(table).map_err(Error::io("open", table))?))
        };
        let delimiter = delimiter_of(&mut open()?, table)?;
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(false).from_reader(open()?);
        let names: Vec<String> = reader
            .byte_headers()
            .map_err(|error| refuse(&error.to_string()))?
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        let columns = find_columns(column, &names).map_err(|reason| refuse(&reason))?;
        let header_end = reader.position().byte();
        let mut raw = open()?;
        let mut header = Vec::new();
        raw.by_ref().take(header_end).read_to_end(&mut header).map_err(Error::io("read", table))?;
        let newline: &[u8] = if header.contains(&b'\r') { b"\r\n" } else { b"\n" };
        let header = trimmed(&header).to_vec();
        Ok(Self {
            table: table.to_owned(),
            out: out.to_owned(),
            ending,
            period,
            columns,
            reader,
            raw,
            raw_at: header_end,
            header,
            newline,
            parts: BTreeMap::new(),
            held: 0,
            last: None,
        })
    }

    fn take(&mut self, record: &ByteRecord, start: u64, end: u64, line: u64) -> Result<(), Error> {
        let mut key = Vec::new();
        for column in &self.columns {
            key.extend_from_slice(record.get(*column).unwrap_or_default());
            key.push(b'-');
        }
        let from = match &self.last {
            Some((text, from)) if *text == key => *from,
            Some(_) | None => {
                let moment = self.moment(record).ok_or_else(|| {
                    let text = String::from_utf8_lossy(&key);
                    self.refuse(&format!("line {line}: `{}` is no moment or day", text.trim_end_matches('-')))
                })?;
                let (name, from, until) = bounds(moment, self.period)
                    .ok_or_else(|| self.refuse(&format!("line {line}: a moment beyond all calendars")))?;
                self.part(name, from, until)?;
                self.last = Some((key, from));
                from
            }
        };
        let bytes = self.raw_line(start, end)?;
        let newline = self.newline;
        let mut added = 0;
        if let Some(open) = self.parts.get_mut(&from) {
            open.held.extend_from_slice(&bytes);
            open.held.extend_from_slice(newline);
            open.part.rows = Some(open.part.rows.unwrap_or(0) + 1);
            added = bytes.len() + newline.len();
        }
        self.held += added;
        if self.held > HELD { self.flush() } else { Ok(()) }
    }

    fn moment(&self, record: &ByteRecord) -> Option<Timestamp> {
        let text = |column: &usize| std::str::from_utf8(record.get(*column)?).ok().map(str::trim);
        match self.columns.as_slice() {
            [column] => text(column)?.parse().ok(),
            columns => {
                let mut numbers = columns.iter().map(|column| text(column)?.parse::<u32>().ok());
                let (year, month) = (numbers.next()??, numbers.next()??);
                let day = numbers.next().map_or(Some(1), |day| day)?;
                let day = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
                Some(midnight(day))
            }
        }
    }

    /// The bytes that the reader took for one record, without line ends.
    fn raw_line(&mut self, start: u64, end: u64) -> Result<Vec<u8>, Error> {
        if start != self.raw_at {
            self.raw.seek(SeekFrom::Start(start)).map_err(Error::io("read", &self.table))?;
        }
        let mut bytes = Vec::new();
        let length = end.saturating_sub(start);
        self.raw.by_ref().take(length).read_to_end(&mut bytes).map_err(Error::io("read", &self.table))?;
        self.raw_at = end;
        Ok(trimmed(&bytes).to_vec())
    }

    fn part(&mut self, name: String, from: Timestamp, until: Timestamp) -> Result<(), Error> {
        if self.parts.contains_key(&from) {
            return Ok(());
        }
        if self.parts.len() >= MAX_PARTS {
            return Err(self.refuse(&format!("it would be more than {MAX_PARTS} parts")));
        }
        let name = format!("{name}.{}", self.ending);
        let path = self.out.join(&name);
        let mut held = self.header.clone();
        held.extend_from_slice(self.newline);
        File::create(&path).map_err(Error::io("write", &path))?;
        self.parts.insert(from, Open { part: Part { name, from, until, rows: None, path }, held });
        Ok(())
    }

    /// Writes what is held. Files are not kept open: there may be more parts than a process may have.
    fn flush(&mut self) -> Result<(), Error> {
        for open in self.parts.values_mut().filter(|open| !open.held.is_empty()) {
            let path = &open.part.path;
            let mut file = OpenOptions::new().append(true).open(path).map_err(Error::io("write", path))?;
            file.write_all(&open.held).map_err(Error::io("write", path))?;
            open.held = Vec::new();
        }
        self.held = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Part>, Error> {
        self.flush()?;
        if self.parts.is_empty() {
            return Err(self.refuse("it has no rows"));
        }
        Ok(self.parts.into_values().map(|open| open.part).collect())
    }

    fn refuse(&self, reason: &str) -> Error {
        let what =
            self.table.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Error::Split { what, reason: reason.to_owned() }
    }
}

/// The parts of what was fetched, in the order of time: a table is split by its column, a folder has one
/// part a file, whose names say their time (`2013-04.csv`, `flights_2013-04-01.parquet`).
///
/// # Errors
/// As [`split_by_time`], and when no column is declared for a table or a file's name says no time.
pub async fn parts_of(fetched: &Fetched, parts: &Parts, cache: &Path) -> Result<Vec<Part>, Error> {
    match (&fetched.content, &parts.column) {
        (Content::File(table), Some(column)) => {
            let (table, column, period, cache) = (table.clone(), column.clone(), parts.by, cache.to_owned());
            blocking(move || split_into_cache(&table, &column, period, &cache)).await
        }
        (Content::File(table), None) => Err(Error::Split {
            what: table.display().to_string(),
            reason: "it is one table, so `parts` needs the `column` that has the time".to_owned(),
        }),
        (Content::Folder(files), _) => parts_by_name(files, parts.by),
    }
}

/// A file that is a part, by its name.
///
/// # Errors
/// When the name says no time.
pub fn part_of_file(path: &Path, period: Period) -> Result<Part, Error> {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    part_by_name(&name, path, period)
}

fn part_by_name(name: &str, path: &Path, period: Period) -> Result<Part, Error> {
    let (_, from, until) = moment_in(name).and_then(|moment| bounds(moment, period)).ok_or_else(|| {
        let reason = "its name has no date such as `2013-04` or `2013-04-01`".to_owned();
        Error::Split { what: name.to_owned(), reason }
    })?;
    Ok(Part { name: name.to_owned(), from, until, rows: None, path: path.to_owned() })
}

fn parts_by_name(files: &[(String, PathBuf)], period: Period) -> Result<Vec<Part>, Error> {
    let mut parts: Vec<Part> =
        files.iter().map(|(name, path)| part_by_name(name, path, period)).collect::<Result<_, _>>()?;
    parts.sort_by(|a, b| (a.from, &a.name).cmp(&(b.from, &b.name)));
    Ok(parts)
}

/// The last date in a name: year, month and day, or year and month, or a year alone.
fn moment_in(name: &str) -> Option<Timestamp> {
    let numbers: Vec<&str> =
        name.split(|c: char| !c.is_ascii_digit()).filter(|text| !text.is_empty()).collect();
    let year = numbers.iter().rposition(|text| matches!(text.len(), 4 | 6 | 8))?;
    let text = numbers.get(year)?;
    let next = |offset: usize| numbers.get(year + offset).filter(|text| text.len() == 2)?.parse::<u32>().ok();
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<u32>().ok();
    let month = part(4, 6).or_else(|| next(1));
    let day = month.and(part(6, 8).or_else(|| if text.len() == 4 { next(2) } else { None }));
    let year = i32::try_from(part(0, 4)?).ok()?;
    NaiveDate::from_ymd_opt(year, month.unwrap_or(1), day.unwrap_or(1)).map(midnight)
}

/// The parts of a table in a folder of the cache, split when they are not there yet.
///
/// # Errors
/// As [`split_by_time`].
pub fn split_into_cache(
    table: &Path,
    column: &str,
    period: Period,
    cache: &Path,
) -> Result<Vec<Part>, Error> {
    let digest = rondo_store::Objects::digest_path(table)?.digest;
    let ending = table.extension().map_or_else(String::new, |ending| ending.to_string_lossy().into_owned());
    let key = rondo_core::Digest::of(format!("{digest}\0{column}\0{period:?}\0{ending}").as_bytes());
    let folder = cache.join("parts").join(key.short());
    let note = folder.join("parts.json");
    if let Some(parts) = read_note(&note, &folder) {
        return Ok(parts);
    }
    fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
    let fresh = tempfile::TempDir::new_in(&folder).map_err(Error::io("make", &folder))?;
    let mut parts = split_by_time(table, column, period, fresh.path())?;
    for part in &mut parts {
        let place = folder.join(&part.name);
        File::open(&part.path).and_then(|file| file.sync_all()).map_err(Error::io("sync", &part.path))?;
        fs::rename(&part.path, &place).map_err(Error::io("write", &place))?;
        part.path = place;
    }
    let noted: Vec<Noted> = parts
        .iter()
        .map(|part| Noted { name: part.name.clone(), from: part.from, until: part.until, rows: part.rows })
        .collect();
    let bytes = serde_json::to_vec(&noted)
        .map_err(|source| Error::Record { what: "note of a table's parts".to_owned(), source })?;
    crate::fetch::write_whole(&note, &bytes)?;
    Ok(parts)
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Noted {
    name: String,
    from: Timestamp,
    until: Timestamp,
    rows: Option<u64>,
}

fn read_note(note: &Path, folder: &Path) -> Option<Vec<Part>> {
    let noted: Vec<Noted> = serde_json::from_slice(&fs::read(note).ok()?).ok()?;
    let parts: Vec<Part> = noted
        .into_iter()
        .map(|Noted { name, from, until, rows }| {
            let path = folder.join(&name);
            Part { name, from, until, rows, path }
        })
        .collect();
    parts.iter().all(|part| !part.name.contains('/') && part.path.is_file()).then_some(parts)
}

/// The name, beginning and end of the period that a moment falls into.
pub fn bounds(moment: Timestamp, period: Period) -> Option<(String, Timestamp, Timestamp)> {
    let day = DateTime::<Utc>::from_timestamp_millis(moment.millis())?.date_naive();
    let (name, from, until) = match period {
        Period::Day => (day.format("%Y-%m-%d").to_string(), day, day.checked_add_days(Days::new(1))?),
        Period::Week => {
            let from = day.checked_sub_days(Days::new(day.weekday().num_days_from_monday().into()))?;
            (day.format("%G-W%V").to_string(), from, from.checked_add_days(Days::new(7))?)
        }
        Period::Month => {
            let from = day.with_day(1)?;
            (day.format("%Y-%m").to_string(), from, from.checked_add_months(Months::new(1))?)
        }
        Period::Year => {
            let from = day.with_ordinal(1)?;
            (day.format("%Y").to_string(), from, from.checked_add_months(Months::new(12))?)
        }
    };
    Some((name, midnight(from), midnight(until)))
}

fn midnight(day: NaiveDate) -> Timestamp {
    Timestamp(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis())
}

/// The indices of the one column, or of year, month and day.
fn find_columns(wanted: &str, names: &[String]) -> Result<Vec<usize>, String> {
    let wanted: Vec<&str> = if names.iter().any(|name| name == wanted) {
        vec![wanted]
    } else {
        wanted.split(',').map(str::trim).collect()
    };
    if wanted.len() > 3 {
        return Err("at most three columns (year, month, day) can be named".to_owned());
    }
    wanted
        .iter()
        .map(|wanted| {
            names.iter().position(|name| name == wanted).ok_or_else(|| {
                match suggest::nearest(wanted, names.iter().map(String::as_str)) {
                    Some(near) => format!("it has no column `{wanted}`; did you mean `{near}`?"),
                    None => format!("it has no column `{wanted}`"),
                }
            })
        })
        .collect()
}

/// The delimiter that the first line has most of.
fn delimiter_of(reader: &mut impl Read, path: &Path) -> Result<u8, Error> {
    let mut head = Vec::new();
    reader.take(1 << 16).read_to_end(&mut head).map_err(Error::io("read", path))?;
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |wanted: u8| line.iter().filter(|byte| **byte == wanted).count();
    // The last of equal ones counts, so the comma stands last.
    Ok([b'|', b'\t', b';', b','].into_iter().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b','))
}

/// Bytes without the line ends around them.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = |byte: &u8| *byte == b'\n' || *byte == b'\r';
    let start = bytes.iter().position(|byte| !end(byte)).unwrap_or(bytes.len());
    let stop = bytes.iter().rposition(|byte| !end(byte)).map_or(start, |last| last + 1);
    bytes.get(start..stop).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn split(text: &str, column: &str, period: Period) -> Result<Vec<(String, String)>, Error> {
        let folder = TempDir::new().unwrap();
        let table = folder.path().join("t.csv");
        fs::write(&table, text).unwrap();
        let parts = split_by_time(&table, column, period, folder.path())?;
        for part in &parts {
            assert!(part.from < part.until);
        }
        Ok(parts.into_iter().map(|part| (part.name, fs::read_to_string(part.path).unwrap())).collect())
    }

    #[test]
    fn lines_go_to_their_month_as_they_stand() {
        let text = "id,at,note\n1,2013-01-31T23:59:00Z,\"a, \"\"b\"\"\nc\"\n2,2013-02-01,x\n3,2013-01-01 05:00:00,\n";
        assert_eq!(
            split(text, "at", Period::Month).unwrap(),
            [
                (
                    "2013-01.csv".into(),
                    "id,at,note\n1,2013-01-31T23:59:00Z,\"a, \"\"b\"\"\nc\"\n3,2013-01-01 05:00:00,\n"
                        .to_owned()
                ),
                ("2013-02.csv".into(), "id,at,note\n2,2013-02-01,x\n".to_owned()),
            ]
        );
    }

    #[test]
    fn year_month_and_day_may_stand_in_columns_of_their_own() {
        let text = "year;month;day;x\r\n2013;1;31;a\r\n\r\n2013;2;1;b";
        let parts = split(text, "year,month,day", Period::Month).unwrap();
        assert_eq!(parts[0].1, "year;month;day;x\r\n2013;1;31;a\r\n");
        assert_eq!(parts[1], ("2013-02.csv".into(), "year;month;day;x\r\n2013;2;1;b\r\n".into()));
        assert_eq!(split(text, "year, month", Period::Year).unwrap()[0].0, "2013.csv");
    }

    #[test]
    fn periods_have_their_names_and_bounds() {
        let moment: Timestamp = "2012-12-31T10:00:00Z".parse().unwrap();
        let show = |period| {
            let (name, from, until) = bounds(moment, period).unwrap();
            format!("{name} {} {}", from.day(), until.day())
        };
        assert_eq!(show(Period::Day), "2012-12-31 2012-12-31 2013-01-01");
        assert_eq!(show(Period::Week), "2013-W01 2012-12-31 2013-01-07");
        assert_eq!(show(Period::Month), "2012-12 2012-12-01 2013-01-01");
        assert_eq!(show(Period::Year), "2012 2012-01-01 2013-01-01");
        assert_eq!(bounds(Timestamp(i64::MAX), Period::Day), None);
    }

    #[test]
    fn what_cannot_be_split_is_refused_with_the_line() {
        let reason = |text: &str, column: &str| split(text, column, Period::Month).unwrap_err().to_string();
        assert!(reason("at\n2013-01-01\nNA\n", "at").contains("line 3: `NA` is no moment"));
        assert!(reason("when\n2013-01-01\n", "wen").contains("did you mean `when`?"));
        assert!(reason("at\n", "at").contains("no rows"));
        assert!(reason("at,b\n2013-01-01\n", "at").contains("cannot be split"));
        let folder = TempDir::new().unwrap();
        let other = folder.path().join("t.parquet");
        fs::write(&other, "PAR1").unwrap();
        assert!(split_by_time(&other, "at", Period::Month, folder.path()).is_err());
    }

    #[test]
    fn parts_in_the_cache_are_used_again() {
        let folder = TempDir::new().unwrap();
        let table = folder.path().join("t.csv");
        fs::write(&table, "at,b\n2013-01-01,1\n2013-02-01,2\n").unwrap();
        let first = split_into_cache(&table, "at", Period::Month, folder.path()).unwrap();
        let made = fs::metadata(&first[0].path).unwrap().modified().unwrap();
        assert_eq!(split_into_cache(&table, "at", Period::Month, folder.path()).unwrap(), first);
        assert_eq!(fs::metadata(&first[0].path).unwrap().modified().unwrap(), made);
        assert_ne!(split_into_cache(&table, "at", Period::Year, folder.path()).unwrap(), first);
    }

    #[test]
    fn files_of_a_folder_are_parts_by_their_names() {
        let files = |names: &[&str]| -> Vec<(String, PathBuf)> {
            names.iter().map(|name| ((*name).to_owned(), PathBuf::from(name))).collect()
        };
        let parts = parts_by_name(
            &files(&["b/2013-02.csv", "x_2013-01.csv", "20121231.csv", "flights-2013-3-1/201301.csv"]),
            Period::Month,
        )
        .unwrap();
        let show: Vec<String> =
            parts.iter().map(|part| format!("{} {}", part.name, part.from.day())).collect();
        assert_eq!(
            show,
            [
                "20121231.csv 2012-12-01",
                "flights-2013-3-1/201301.csv 2013-01-01",
                "x_2013-01.csv 2013-01-01",
                "b/2013-02.csv 2013-02-01",
            ]
        );
        for name in ["a.csv", "2013-13.csv", "part-7.csv"] {
            assert!(parts_by_name(&files(&[name]), Period::Month).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_name_has_a_time_or_none(name in "\\PC{0,20}|[0-9_-]{0,20}") {
            let _ = moment_in(&name);
        }

        #[test]
        fn no_row_is_lost_or_made(days in prop::collection::vec(0i64..800, 1..60)) {
            let rows: Vec<String> = days
                .iter()
                .enumerate()
                .map(|(id, day)| format!("{id},{}", Timestamp(day * 86_400_000).day()))
                .collect();
            let parts = split(&format!("id,at\n{}\n", rows.join("\n")), "at", Period::Week).unwrap();
            let mut found: Vec<String> =
                parts.iter().flat_map(|(_, text)| text.lines().skip(1).map(str::to_owned)).collect();
            let mut expected = rows;
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }
}
