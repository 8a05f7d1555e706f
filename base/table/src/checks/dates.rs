//! Days and moments as texts: forms of `strftime`, and the usual ways to write a day.

use chrono::format::{Item, Parsed, StrftimeItems, parse};

/// A form such as `%Y-%m-%d`, ready to be asked of many texts.
#[derive(Debug)]
pub(super) struct Form {
    items: Vec<Item<'static>>,
}

impl Form {
    /// Reads a form.
    ///
    /// # Errors
    /// When it has a directive that nobody knows.
    pub(super) fn new(format: &str) -> Result<Self, String> {
        let items: Vec<Item<'static>> = StrftimeItems::new(format)
            .parse_to_owned()
            .map_err(|_| format!("`{format}` is no form of a moment: a directive is unknown"))?;
        Ok(Self { items })
    }

    /// Whether a text is a moment in this form, with a day that exists.
    pub(super) fn is_match(&self, text: &str) -> bool {
        let mut parsed = Parsed::new();
        if parse(&mut parsed, text, self.items.iter()).is_err() {
            return false;
        }
        // A day of a month without a year is one of 1900, as Python has it.
        let no_year = parsed.year.is_none() && parsed.year_mod_100.is_none() && parsed.timestamp.is_none();
        if no_year && parsed.month.is_some() && parsed.day.is_some() && parsed.set_year(1900).is_err() {
            return false;
        }
        use chrono::format::ParseErrorKind::NotEnough;
        match parsed.to_naive_date() {
            Ok(_) => true,
            Err(error) => error.kind() == NotEnough,
        }
    }
}

/// The usual forms of a day, alone or before a time.
const DAYS: [&str; 15] = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d.%m.%Y",
    "%m-%d-%Y",
    "%d-%m-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d-%b-%Y",
    "%a, %d %b %Y",
];
const TIMES: [&str; 6] = ["%H:%M", "%H:%M:%S", "%H:%M:%S%.f", "%I:%M %p", "%I:%M:%S %p", "%H%M%S"];

/// Whether a text is a day or moment in one of the usual forms; which of two days `04/01/2013` is, is not
/// asked.
pub(super) fn is_date(text: &str) -> bool {
    use std::sync::LazyLock;
    static FORMS: LazyLock<(Vec<Form>, Vec<Form>)> = LazyLock::new(|| {
        let forms = |list: &[&str]| list.iter().filter_map(|form| Form::new(form).ok()).collect();
        (forms(&DAYS), forms(&TIMES))
    });
    let text = text.trim();
    if text.is_empty() || text.len() > 64 {
        return false;
    }
    if crate::moment::parse(text).is_some() {
        return true;
    }
    let (days, times) = &*FORMS;
    if days.iter().chain(times).any(|form| form.is_match(text)) {
        return true;
    }
    // A day, a blank or `T`, a time, perhaps a zone.
    let bare = text.trim_end_matches(['Z', 'z']).trim_end_matches(" UTC").trim_end_matches(" GMT").trim_end();
    let bare = match bare.len().checked_sub(6).and_then(|at| Some((bare.get(..at)?, bare.get(at..)?))) {
        Some((before, zone)) if zone.starts_with(['+', '-']) && zone.get(3..4) == Some(":") => {
            before.trim_end()
        }
        _ => bare,
    };
    bare.char_indices().filter(|(_, letter)| matches!(letter, ' ' | 'T')).any(|(at, _)| {
        let (day, time) = (bare.get(..at), bare.get(at + 1..));
        let is = |text: Option<&str>, forms: &[Form]| {
            text.is_some_and(|text| forms.iter().any(|form| form.is_match(text)))
        };
        is(day, days) && is(time, times)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms_are_those_of_strftime() {
        for (form, text, matches) in [
            ("%Y-%m-%d", "2013-02-28", true),
            ("%Y-%m-%d", "2013-2-8", true),
            ("%Y-%m-%d", "2013-02-30", false),
            ("%Y-%m-%d", "2013-02-28 ", false),
            ("%H:%M", "23:59", true),
            ("%H:%M", "24:00", false),
            ("%d/%m", "29/02", false),
            ("%d/%m/%y %H:%M:%S", "01/12/99 00:00:59", true),
            ("%Y-%m-%dT%H:%M:%S%z", "2013-01-01T00:00:00+0200", true),
            ("%b %d %Y", "Jan 01 2020", true),
        ] {
            assert_eq!(Form::new(form).unwrap().is_match(text), matches, "{form} {text}");
        }
        assert!(Form::new("%Q").is_err());
    }

    #[test]
    fn usual_days_are_known() {
        for text in [
            "2013-01-01",
            "01/31/2013",
            "31.01.2013",
            "3 Jan 2013",
            "January 3, 2013",
            "2013-01-01 10:00:00 UTC",
            "Jan 3, 2013 10:00 PM",
            "2013-01-01T10:00:00.123456+02:00",
        ] {
            assert!(is_date(text), "{text}");
        }
        for text in ["", "x", "2013-13-01", "31/31/2013", "yesterday"] {
            assert!(!is_date(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_form_and_text_are_answered(form in "[%YmdHMSzjybBfp0-9 :-]{0,20}", text in ".{0,40}") {
            if let Ok(form) = Form::new(&form) {
                form.is_match(&text);
            }
            is_date(&text);
        }
    }
}
