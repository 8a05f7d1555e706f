//! What a kernel's process writes past its channels: kept for an error message, and handed on to who listens.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::lines::part;
use crate::outputs::plain;
use rondo_core::mask::Mask;

/// So many lines are kept for an error message.
const KEPT_LINES: usize = 200;

/// What is done with the lines that a process writes.
#[derive(Clone)]
pub struct LineSink {
    /// Keeps secrets out of them.
    pub mask: Mask,
    /// Takes each, once [`Output::listen`] has been called.
    pub take: Arc<dyn Fn(String) + Send + Sync>,
}

/// The output of a process.
pub struct Output {
    sink: LineSink,
    loud: AtomicBool,
    tail: Mutex<VecDeque<String>>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}

impl Output {
    /// Output of which nothing has come yet.
    pub fn new(sink: LineSink) -> Arc<Self> {
        Arc::new(Self { sink, loud: AtomicBool::new(false), tail: Mutex::default() })
    }

    /// From now on each line goes to the sink, beside being kept.
    pub fn listen(&self) {
        self.loud.store(true, Ordering::Relaxed);
    }

    /// The last lines.
    pub fn tail(&self) -> Vec<String> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Reads a pipe to its end.
    pub async fn read(self: Arc<Self>, mut pipe: impl AsyncRead + Unpin) {
        let (mut bytes, mut line) = (Vec::new(), String::new());
        let mut chunk = [0u8; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
            bytes.extend(chunk.iter().take(count));
            line.push_str(&take_text(&mut bytes));
            let end = line.rfind('\n').map_or(0, |at| at + 1);
            line.drain(..end).collect::<String>().lines().for_each(|whole| self.line(whole));
            if let Some(part) = part(&mut line, &self.sink.mask) {
                self.line(&part);
            }
        }
        line.push_str(&String::from_utf8_lossy(&bytes));
        if !line.is_empty() {
            self.line(&line);
        }
    }

    fn line(&self, text: &str) {
        let line = plain(text.trim_end_matches('\r'));
        let line = self.sink.mask.text(&line).into_owned();
        if self.loud.load(Ordering::Relaxed) {
            (self.sink.take)(line.clone());
        }
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == KEPT_LINES {
            tail.pop_front();
        }
        tail.push_back(line);
    }
}

/// Takes the text that bytes are; a character whose end is still to come stays.
fn take_text(bytes: &mut Vec<u8>) -> String {
    let open = bytes.utf8_chunks().last().map_or(0, |chunk| match std::str::from_utf8(chunk.invalid()) {
        Err(error) if error.error_len().is_none() => chunk.invalid().len(),
        _ => 0,
    });
    let rest = bytes.split_off(bytes.len().saturating_sub(open));
    String::from_utf8_lossy(&std::mem::replace(bytes, rest)).into_owned()
}
