//! One column: its line, its section, and the drawings in them.

use std::fmt::Write;

use rondo_core::signature::ColumnType;
use rondo_data::profile::{number, share};
use rondo_table::profile::summary::{ColumnSummary, NumberSummary, Ordered, TextSummary, TimeSummary};

use crate::report::chart::escape;
use crate::report::tables::count;

/// Commonest values of a full section, and of a short one.
const TOP: usize = 10;
const TOP_SHORT: usize = 3;

/// How many values differ.
pub fn distinct(column: &ColumnSummary) -> String {
    column.distinct.map_or_else(String::new, |distinct| {
        format!("{}{}", if distinct.exact { "" } else { "~" }, count(distinct.count))
    })
}

/// The three cells for least, middle and greatest; of texts one cell with the commonest.
pub fn middle(column: &ColumnSummary) -> String {
    if let Some(numbers) = &column.numbers {
        let [_, _, median, _, _] = numbers.quantiles;
        return format!(
            "<td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>",
            number(numbers.min),
            number(median),
            number(numbers.max)
        );
    }
    if let Some((first, last)) = &column.moments {
        return format!("<td colspan=\"3\">{} – {}</td>", first.rfc3339(), last.rfc3339());
    }
    let top: Vec<String> = column.top.iter().take(3).map(|(value, _)| cut(value, 24)).collect();
    format!("<td colspan=\"3\" class=\"quiet\">{}</td>", top.join(", "))
}

/// The distribution in one line.
pub fn spark(column: &ColumnSummary) -> String {
    let counts = distribution(column);
    if counts.is_empty() { String::new() } else { bars(&counts, 132.0, 22.0, "spark") }
}

fn distribution(column: &ColumnSummary) -> Vec<f64> {
    if let Some(numbers) = &column.numbers {
        return numbers.histogram.clone();
    }
    if let Some(times) = &column.times {
        return times.histogram.clone();
    }
    column.top.iter().map(|(_, count)| *count as f64).collect()
}

/// Bars of counts: one path, so that a page may have hundreds.
fn bars(counts: &[f64], width: f64, height: f64, class: &str) -> String {
    let greatest = counts.iter().copied().fold(0.0, f64::max);
    let step = width / counts.len().max(1) as f64;
    let gap = if step > 5.0 { 1.0 } else { 0.4 };
    let mut path = String::new();
    for (at, count) in counts.iter().enumerate() {
        if *count > 0.0 && greatest > 0.0 {
            // What is there is seen.
            let tall = (count / greatest * height).max(1.0);
            let _ = write!(
                path,
                "M{} {height}v{}h{}v{}z",
                short(at as f64 * step),
                short(-tall),
                short(step - gap),
                short(tall)
            );
        }
    }
    format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><path d=\"{path}\"/></svg>"
    )
}

fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// A text of the data in one short line.
fn cut(text: &str, most: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { '·' } else { c }).take(most + 1).collect();
    if line.chars().count() > most {
        escape(&line.chars().take(most - 1).chain(['…']).collect::<String>())
    } else {
        escape(&line)
    }
}

/// The section.
pub fn section(at: usize, column: &ColumnSummary, full: bool) -> String {
    let mut html = format!(
        "<article id=\"c{at}\"><h3>{} <span class=\"quiet\">{}</span>{}</h3><div class=\"two\"><dl>",
        super::short(&column.name),
        column.column_type.text(),
        marks(column)
    );
    fact(&mut html, "values", &count(column.count));
    let missing = if column.nulls == 0 {
        "none".to_owned()
    } else {
        format!("{} ({})", count(column.nulls), share(column.null_share))
    };
    fact(&mut html, "missing", &missing);
    if column.distinct.is_some() {
        fact(&mut html, "distinct", &distinct(column));
    }
    if let Some(numbers) = &column.numbers {
        number_facts(&mut html, numbers, column.count);
    }
    if let (Some((first, last)), Some(times)) = (&column.moments, &column.times) {
        fact(&mut html, "first", &first.rfc3339());
        fact(&mut html, "median", &times.median.rfc3339());
        fact(&mut html, "last", &last.rfc3339());
        if let Some(gap) = times.widest_gap {
            let about = if gap.exact { "" } else { "about " };
            let span = span(gap.to.0.saturating_sub(gap.from.0));
            fact(&mut html, "widest gap", &format!("{about}{span}, from {}", gap.from.rfc3339()));
        }
    }
    if let Some((least, mean, most)) = column.lengths {
        fact(&mut html, "length", &format!("{least} to {most}, mean {}", number(mean)));
    }
    if let Some(texts) = &column.texts {
        text_facts(&mut html, texts, column.count);
    }
    html.push_str("</dl><div>");
    html.push_str(&figures(column, full));
    html.push_str("</div></div>");
    if full && let Some(numbers) = &column.numbers {
        html.push_str(&quantiles(numbers));
    }
    html.push_str("</article>");
    html
}

fn marks(column: &ColumnSummary) -> String {
    let order = match column.order {
        Some(Ordered::Ascending) => Some("ascending"),
        Some(Ordered::Descending) => Some("descending"),
        None => None,
    };
    let marks = [column.constant.then_some("constant"), column.id_like.then_some("key"), order];
    marks.into_iter().flatten().map(|mark| format!(" <span class=\"state\">{mark}</span>")).collect()
}

fn fact(html: &mut String, name: &str, value: &str) {
    let _ = write!(html, "<dt>{name}</dt><dd>{}</dd>", escape(value));
}

/// A count with its share, where there is any.
fn some(html: &mut String, name: &str, part: u64, of: u64) {
    if part > 0 {
        fact(html, name, &format!("{} ({})", count(part), share(part as f64 / of.max(1) as f64)));
    }
}

fn number_facts(html: &mut String, numbers: &NumberSummary, values: u64) {
    fact(html, "mean", &number(numbers.mean));
    fact(html, "deviation", &number(numbers.std));
    fact(html, "skewness", &format!("{:.2}", numbers.skewness));
    some(html, "zero", numbers.zeros, values);
    some(html, "negative", numbers.negatives, values);
    some(html, "infinite", numbers.infinite, values);
}

fn text_facts(html: &mut String, texts: &TextSummary, values: u64) {
    some(html, "empty", texts.empty, values);
    some(html, "white space", texts.whitespace, values);
    some(html, "padded", texts.padded, values);
    some(html, "beyond ASCII", texts.non_ascii, values);
    let kinds: Vec<String> = texts
        .kinds
        .iter()
        .take(3)
        .map(|(kind, many)| format!("{} {}", kind.text(), share(*many as f64 / values.max(1) as f64)))
        .collect();
    fact(html, "read as", &kinds.join(", "));
}

fn span(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    match seconds {
        ..=0 if micros % 1000 == 0 => format!("{} ms", micros / 1000),
        ..=0 => format!("{micros} µs"),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn figures(column: &ColumnSummary, full: bool) -> String {
    let mut html = String::new();
    if let Some(numbers) = &column.numbers {
        html.push_str(&histogram(&numbers.histogram, &number(numbers.min), &number(numbers.max)));
    } else if let (Some(times), Some((first, last))) = (&column.times, &column.moments) {
        html.push_str(&histogram(&times.histogram, &first.day(), &last.day()));
        html.push_str(&calendar(times));
    }
    let most = if full { TOP } else { TOP_SHORT };
    let few = column.distinct.is_some_and(|distinct| distinct.exact && distinct.count <= 12);
    if column.numbers.is_none() && column.moments.is_none() || full && few {
        html.push_str(&values("commonest value", &column.top, column, most));
    }
    if full && let Some(texts) = &column.texts {
        if column.distinct.is_some_and(|distinct| !distinct.exact || distinct.count > TOP as u64) {
            html.push_str(&values("shape", &texts.shapes, column, 5));
        }
        if let Some((least, _, most)) = column.lengths.filter(|(least, _, most)| least < most) {
            html.push_str("<p class=\"quiet cap\">length in characters</p>");
            html.push_str(&histogram(&texts.lengths, &least.to_string(), &most.to_string()));
        }
    }
    html
}

pub fn histogram(counts: &[f64], from: &str, to: &str) -> String {
    format!(
        "<figure class=\"hist\">{}<figcaption><span>{}</span><span>{}</span></figcaption></figure>",
        bars(counts, 400.0, 90.0, "bars"),
        escape(from),
        escape(to)
    )
}

fn calendar(times: &TimeSummary) -> String {
    if times.weekdays.is_empty() {
        return String::new();
    }
    let row = |counts: &[u64]| counts.iter().map(|count| *count as f64).collect::<Vec<f64>>();
    let named: Vec<String> = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
        .iter()
        .zip(&times.weekdays)
        .map(|(day, many)| format!("{day} {}", count(*many)))
        .collect();
    format!(
        "<div class=\"cal\"><figure class=\"hist\" title=\"{}\">{}<figcaption><span>Monday</span><span>Sunday</span></figcaption></figure>\
         <figure class=\"hist\">{}<figcaption><span>0 h</span><span>23 h UTC</span></figcaption></figure></div>",
        named.join(", "),
        bars(&row(&times.weekdays), 200.0, 50.0, "bars"),
        bars(&row(&times.hours), 200.0, 50.0, "bars"),
    )
}

fn values(head: &str, top: &[(String, u64)], column: &ColumnSummary, most: usize) -> String {
    if top.is_empty() {
        return if column.column_type == ColumnType::Other {
            "<p class=\"quiet\">values of this type are carried and not looked at</p>".to_owned()
        } else if column.count == 0 || head == "shape" {
            String::new()
        } else {
            "<p class=\"quiet\">no value is common: more than half of them differ</p>".to_owned()
        };
    }
    let greatest = top.first().map_or(1, |(_, count)| *count).max(1) as f64;
    let least = if head != "shape" && column.top_error > 0 { "≥ " } else { "" };
    let mut html = format!(
        "<table class=\"top\"><thead><tr><th scope=\"col\">{head}</th><th scope=\"col\" class=\"n\">rows</th>\
         <th scope=\"col\" class=\"n\">share</th></tr></thead><tbody>"
    );
    for (value, many) in top.iter().take(most) {
        let shown = if value.is_empty() { "<i>empty</i>".to_owned() } else { cut(value, 48) };
        let _ = write!(
            html,
            "<tr><td><span class=\"bar\" style=\"--w:{:.1}%\">{shown}</span></td><td class=\"n\">{least}{}</td><td class=\"n\">{}</td></tr>",
            *many as f64 / greatest * 100.0,
            count(*many),
            escape(&share(*many as f64 / column.count.max(1) as f64)),
        );
    }
    html.push_str("</tbody></table>");
    html
}

fn quantiles(numbers: &NumberSummary) -> String {
    let [q5, q25, q50, q75, q95] = numbers.quantiles;
    let cells = [numbers.min, q5, q25, q50, q75, q95, numbers.max];
    let mut html = String::from(
        "<div class=\"scroll\"><table class=\"q\"><thead><tr><th scope=\"col\">least</th><th scope=\"col\">5 %</th>\
         <th scope=\"col\">25 %</th><th scope=\"col\">median</th><th scope=\"col\">75 %</th><th scope=\"col\">95 %</th>\
         <th scope=\"col\">greatest</th></tr></thead><tbody><tr>",
    );
    for value in cells {
        let _ = write!(html, "<td>{}</td>", number(value));
    }
    html.push_str("</tr></tbody></table></div>");
    html
}
