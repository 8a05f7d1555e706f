//! What a workbook claims to hold, held against what it has, before memory is taken for it.
//!
//! A small file may claim much in four ways: parts that unpack to gigabytes, a cell in the last corner of a
//! sheet, cells that are repeated (`.ods`), and a long text that many cells share. Each is counted first, by
//! reading what is there and believing no number that only stands beside it. Nothing is decoded for use here.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use calamine::{DataRef, Sheets};
use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

use super::guarded;
use crate::error::{Result, TableError};

/// All parts of a workbook together may not unpack to more.
const MOST_BYTES: u64 = 1 << 30;
/// They may unpack to so many times the size of the file, beside [`FREE_BYTES`].
const BYTES_A_BYTE: u64 = 100;
/// So many bytes are never too many.
const FREE_BYTES: u64 = 64 << 20;
/// The rows and columns that a sheet of Excel's can have.
const GREATEST: (u32, u32) = (1_048_576, 16_384);
/// The rectangle that holds all cells of a sheet may not have more places.
const MOST_PLACES: u64 = 50_000_000;
/// A sheet may have so many places for each cell that holds something, beside [`FREE_PLACES`].
const PLACES_A_CELL: u64 = 20;
/// So many places are never too many.
const FREE_PLACES: u64 = 1_000_000;

/// The kinds of workbooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Excel's; also what is none.
    Xlsx,
    /// Excel's, in binary.
    Xlsb,
    /// OpenDocument's.
    Ods,
}

/// Refuses a packed workbook that unpacks to more than can be held, and says of which kind it is. What it
/// says of the size of its parts is not believed: they are unpacked.
pub(super) fn unpacked(path: &Path) -> Result<Kind> {
    let file = File::open(path).map_err(|error| TableError::io(path, error))?;
    let size = file.metadata().map_err(|error| TableError::io(path, error))?.len();
    let most = MOST_BYTES.min(size.saturating_mul(BYTES_A_BYTE).saturating_add(FREE_BYTES));
    guarded(path, || {
        // What is no archive is told by the reader.
        let Ok(mut archive) = zip::ZipArchive::new(BufReader::new(file)) else { return Ok(Kind::Xlsx) };
        let refused =
            || format!("its {size} bytes unpack to more than {} MiB, which is more than is read", most >> 20);
        let mut claimed = 0_u64;
        for index in 0..archive.len() {
            let Ok(part) = archive.by_index_raw(index) else { continue };
            claimed = claimed.saturating_add(part.size());
        }
        if claimed > most {
            return Err(refused());
        }
        let mut left = most;
        for index in 0..archive.len() {
            let Ok(part) = archive.by_index(index) else { continue };
            // A damaged part is told by the reader, where it is one that is read.
            let mut part = part.take(left + 1);
            let limit = part.limit();
            let _ = std::io::copy(&mut part, &mut std::io::sink());
            left = left.checked_sub(limit - part.limit()).ok_or_else(refused)?;
        }
        let has = |name: &str| archive.index_for_name(name).is_some();
        Ok(match () {
            () if has("content.xml") => Kind::Ods,
            () if has("xl/workbook.bin") => Kind::Xlsb,
            () => Kind::Xlsx,
        })
    })
}

/// Refuses a sheet whose few cells lie so far apart that the rectangle around them would take all memory, or
/// whose cells share a text that is too long for so many.
pub(super) fn extent<R: Read + Seek>(path: &Path, book: &mut Sheets<R>, sheet: &str) -> Result<()> {
    let mut extent = Extent::default();
    guarded(path, || {
        match book {
            Sheets::Xlsx(book) => {
                // What is no sheet of cells is told by the reader.
                let Ok(mut cells) = book.worksheet_cells_reader(sheet) else { return Ok(()) };
                while let Some(cell) = cells.next_cell().map_err(|error| error.to_string())? {
                    extent.add(cell.get_position(), cell.get_value());
                }
            }
            Sheets::Xlsb(book) => {
                let Ok(mut cells) = book.worksheet_cells_reader(sheet) else { return Ok(()) };
                while let Some(cell) = cells.next_cell().map_err(|error| error.to_string())? {
                    extent.add(cell.get_position(), cell.get_value());
                }
            }
            Sheets::Xls(_) | Sheets::Ods(_) => {}
        }
        extent.check(sheet)
    })
}

/// Where the cells of a sheet lie.
#[derive(Default)]
struct Extent {
    cells: u64,
    /// Bytes of their texts.
    text: u64,
    /// The first and the last row and column.
    corners: Option<((u32, u32), (u32, u32))>,
}

impl Extent {
    fn add(&mut self, (row, column): (u32, u32), value: &DataRef<'_>) {
        match value {
            DataRef::Empty => return,
            DataRef::String(text) => self.text = self.text.saturating_add(text.len() as u64),
            DataRef::SharedString(text) => self.text = self.text.saturating_add(text.len() as u64),
            _ => {}
        }
        self.cells += 1;
        let (first, last) = self.corners.unwrap_or(((row, column), (row, column)));
        self.corners = Some(((first.0.min(row), first.1.min(column)), (last.0.max(row), last.1.max(column))));
    }

    fn check(&self, sheet: &str) -> Result<(), String> {
        let Some((first, last)) = self.corners else { return Ok(()) };
        if last.0 >= GREATEST.0 || last.1 >= GREATEST.1 {
            return Err(format!(
                "the sheet `{sheet}` has a cell in row {}, column {}, and no sheet of Excel has more than {} rows and {} columns",
                u64::from(last.0) + 1,
                u64::from(last.1) + 1,
                GREATEST.0,
                GREATEST.1
            ));
        }
        let (rows, columns) = (u64::from(last.0 - first.0) + 1, u64::from(last.1 - first.1) + 1);
        if rows.saturating_mul(columns) > most_places(self.cells) {
            return Err(format!(
                "the {} cells of the sheet `{sheet}` lie over {rows} rows and {columns} columns: clear those far away",
                self.cells
            ));
        }
        if self.text > MOST_BYTES {
            return Err(format!(
                "the texts of the sheet `{sheet}` are longer than {} GiB together",
                MOST_BYTES >> 30
            ));
        }
        Ok(())
    }
}

fn most_places(cells: u64) -> u64 {
    MOST_PLACES.min(cells.saturating_mul(PLACES_A_CELL).saturating_add(FREE_PLACES))
}

/// Refuses an OpenDocument workbook whose repeated cells and rows are too many, or whose XML is not whole:
/// its reader would go on for ever.
pub(super) fn repeated(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(|error| TableError::io(path, error))?;
    guarded(path, || {
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(|error| error.to_string())?;
        let content = archive.by_name("content.xml").map_err(|error| error.to_string())?;
        let mut reader = Reader::from_reader(BufReader::new(content));
        reader.config_mut().expand_empty_elements = true;
        let mut laid = Laid::default();
        let (mut buffer, mut open) = (Vec::new(), 0_u64);
        loop {
            buffer.clear();
            let event = reader
                .read_event_into(&mut buffer)
                .map_err(|error| format!("content.xml, byte {}: {error}", reader.error_position()))?;
            match event {
                Event::Start(element) => {
                    open += 1;
                    laid.begin(&element)?;
                }
                Event::End(element) => {
                    open = open.saturating_sub(1);
                    laid.end(element.name().0);
                    laid.check()?;
                }
                Event::Text(text) => laid.said(text.len() as u64),
                Event::CData(text) => laid.said(text.len() as u64),
                Event::GeneralRef(_) => laid.said(4),
                Event::Eof if open > 0 => return Err("content.xml is cut short".to_owned()),
                Event::Eof => return Ok(()),
                _ => {}
            }
        }
    })
}

/// What an OpenDocument workbook lays out, all sheets together, as an upper bound.
#[derive(Default)]
struct Laid {
    /// Tables that are open.
    tables: u64,
    /// Of the sheets that are done.
    places: u64,
    /// Cells that are written down and hold something.
    cells: u64,
    /// Bytes of what cells hold, as often as it is repeated.
    text: u64,
    sheet: Grid,
    row: Row,
    /// The cell at hand: how often it is repeated, whether it holds something, its bytes.
    cell: Option<(u64, bool, u64)>,
}

/// The rectangle of a sheet.
#[derive(Default)]
struct Grid {
    /// The rows so far.
    rows: u64,
    /// The first and the last that hold something.
    held: Option<(u64, u64)>,
    /// The columns that hold something.
    columns: Option<(u64, u64)>,
    /// Cells of rows that are written down.
    written: u64,
}

#[derive(Default)]
struct Row {
    repeats: u64,
    column: u64,
    /// Of the cells that hold something the first column, and the end of the last.
    held: Option<(u64, u64)>,
    text: u64,
}

impl Laid {
    fn begin(&mut self, element: &BytesStart<'_>) -> Result<(), String> {
        match element.name().0 {
            "table:table" => self.tables += 1,
            "table:table-row" => {
                let repeats = number(element, "table:number-rows-repeated")?.max(1);
                self.row = Row { repeats, ..Row::default() };
            }
            "table:table-cell" | "table:covered-table-cell" => {
                let repeats = number(element, "table:number-columns-repeated")?.max(1);
                let raw = element.attributes_raw();
                let holds = ["office:", "calcext:", "table:formula"].iter().any(|name| raw.contains(name));
                self.cell = Some((repeats, holds, raw.len() as u64));
            }
            // Spaces are written as a number of them.
            "text:s" => self.said(number(element, "text:c")?.max(1)),
            _ => {}
        }
        Ok(())
    }

    fn said(&mut self, bytes: u64) {
        if let Some((_, _, text)) = &mut self.cell {
            *text = text.saturating_add(bytes);
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "table:table-cell" | "table:covered-table-cell" => {
                let Some((repeats, holds, text)) = self.cell.take() else { return };
                let row = &mut self.row;
                let end = row.column.saturating_add(repeats);
                if holds {
                    self.cells += 1;
                    row.held = Some((row.held.map_or(row.column, |(first, _)| first), end));
                    row.text = row.text.saturating_add(text.saturating_mul(repeats));
                }
                row.column = end;
            }
            "table:table-row" => {
                let row = std::mem::take(&mut self.row);
                let (from, to) = (self.sheet.rows, self.sheet.rows.saturating_add(row.repeats));
                self.sheet.rows = to;
                if let Some((first, end)) = row.held {
                    let sheet = &mut self.sheet;
                    sheet.held = Some((sheet.held.map_or(from, |(first, _)| first), to));
                    let known = sheet.columns.unwrap_or((first, end));
                    sheet.columns = Some((known.0.min(first), known.1.max(end)));
                    sheet.written = sheet.written.saturating_add(end);
                    self.text = self.text.saturating_add(row.text.saturating_mul(row.repeats));
                }
            }
            "table:table" => {
                self.tables = self.tables.saturating_sub(1);
                // What lies in a table that lies in a table is counted with the outer one.
                if self.tables == 0 {
                    self.places = self.places.saturating_add(std::mem::take(&mut self.sheet).places());
                }
            }
            _ => {}
        }
    }

    fn check(&self) -> Result<(), String> {
        let places = self.places.saturating_add(self.sheet.places());
        // A cell that is to come is one more reason to go on: only what no cell can excuse ends the walk.
        let cells = if self.tables == 0 { self.cells } else { u64::MAX };
        if places > most_places(cells) {
            return Err(format!(
                "its {} cells are repeated over {places} places, more than are read: save it as .xlsx or .csv",
                self.cells
            ));
        }
        if self.text > MOST_BYTES {
            return Err(format!(
                "its {} cells are repeated to more than {} GiB: save it as .xlsx or .csv",
                self.cells,
                MOST_BYTES >> 30
            ));
        }
        Ok(())
    }
}

impl Grid {
    fn places(&self) -> u64 {
        let (Some(rows), Some(columns)) = (self.held, self.columns) else { return 0 };
        (rows.1 - rows.0).saturating_mul(columns.1 - columns.0).max(self.written)
    }
}

/// A number in an attribute; nought where there is none.
fn number(element: &BytesStart<'_>, name: &str) -> Result<u64, String> {
    let attribute = element.try_get_attribute(name).map_err(|error| error.to_string())?;
    let Some(attribute) = attribute else { return Ok(0) };
    let text = unescape(&attribute.value).map_err(|error| error.to_string())?;
    Ok(text.parse().unwrap_or(0))
}
