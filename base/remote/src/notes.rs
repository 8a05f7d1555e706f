//! Notes: small named files of a remote that say what its objects mean.

use std::collections::HashMap;
use std::time::SystemTime;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use crate::{Error, Remote};

pub(crate) const FOLDER: &str = "notes";

/// How many notes are read at once.
const AT_ONCE: usize = 16;

impl Remote {
    /// Writes a note, in place of one of the same name. A name is a path such as `dataset/flights/<id>`.
    ///
    /// # Errors
    /// When the remote cannot be reached or refuses.
    pub async fn keep(&self, name: &str, text: impl Into<Bytes>) -> Result<(), Error> {
        self.found().await?;
        self.put(&place(name), text.into()).await
    }

    /// Writes a note where there is none of that name; whether it did.
    ///
    /// # Errors
    /// As [`Remote::keep`].
    pub async fn keep_new(&self, name: &str, text: impl Into<Bytes>) -> Result<bool, Error> {
        self.found().await?;
        self.create(&place(name), text.into()).await
    }

    /// A note; nothing where there is none of that name.
    ///
    /// # Errors
    /// As [`Remote::keep`].
    pub async fn note(&self, name: &str) -> Result<Option<Bytes>, Error> {
        self.get(&place(name)).await
    }

    /// The names of the notes below a folder, in order.
    ///
    /// # Errors
    /// As [`Remote::keep`].
    pub async fn notes(&self, folder: &str) -> Result<Vec<String>, Error> {
        let mut names = self.list(&place(folder)).await?;
        names.sort();
        Ok(names)
    }

    /// All notes, by name.
    ///
    /// # Errors
    /// As [`Remote::keep`].
    pub async fn all_notes(&self) -> Result<Vec<(String, Bytes)>, Error> {
        let names = self.list(FOLDER).await?;
        let read = names.into_iter().map(|name| async move {
            let text = self.note(&name).await?;
            Ok::<_, Error>(text.map(|text| (name, text)))
        });
        let notes: Vec<_> = futures::stream::iter(read).buffered(AT_ONCE).boxed().try_collect().await?;
        // One that went meanwhile says nothing any more.
        Ok(notes.into_iter().flatten().collect())
    }

    /// When the notes below a folder were written last, by the remote's clock.
    ///
    /// # Errors
    /// As [`Remote::keep`].
    pub async fn written(&self, folder: &str) -> Result<HashMap<String, SystemTime>, Error> {
        let lead = format!("{FOLDER}/");
        let files = self.files(&place(folder)).await?;
        let named = files
            .into_iter()
            .filter_map(|file| Some((file.name.strip_prefix(&lead)?.to_owned(), file.modified)));
        Ok(named.collect())
    }

    /// Takes a note away.
    ///
    /// # Errors
    /// As [`Remote::keep`].
    pub async fn forget(&self, name: &str) -> Result<(), Error> {
        self.remove(&place(name)).await
    }
}

fn place(name: &str) -> String {
    format!("{FOLDER}/{name}")
}
