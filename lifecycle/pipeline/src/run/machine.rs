//! The machine's cores, memory and graphics cards, as far as steps may use them at once.

use std::sync::Mutex;

use rondo_project::project::Resources;
use tokio::sync::Notify;

use crate::worktree::lock;

/// An amount of each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amounts {
    /// Cores.
    pub cpus: f64,
    /// Bytes.
    pub memory: u64,
    /// Graphics cards.
    pub gpus: u32,
}

impl Amounts {
    /// What a step asks for: one core where it says nothing.
    pub fn wanted(resources: &Resources) -> Self {
        Self {
            cpus: resources.cpus.unwrap_or(1.0),
            memory: resources.memory.unwrap_or(0),
            gpus: resources.gpus.unwrap_or(0),
        }
    }

    /// What this machine has.
    pub fn of_this_machine() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let cards = std::fs::read_dir("/dev").into_iter().flatten().flatten().filter(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().strip_prefix("nvidia").is_some_and(|rest| rest.parse::<u32>().is_ok())
        });
        Self {
            cpus: cpus as f64,
            memory: total_memory().unwrap_or(u64::MAX),
            gpus: u32::try_from(cards.count()).unwrap_or(0),
        }
    }

    fn fits(&self, free: &Self) -> bool {
        self.cpus <= free.cpus + 1e-9 && self.memory <= free.memory && self.gpus <= free.gpus
    }

    fn least(&self, other: &Self) -> Self {
        Self {
            cpus: self.cpus.min(other.cpus),
            memory: self.memory.min(other.memory),
            gpus: self.gpus.min(other.gpus),
        }
    }
}

fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What is free, and who waits for it.
pub struct Machine {
    total: Amounts,
    free: Mutex<Amounts>,
    changed: Notify,
}

impl Machine {
    /// A machine with so much, all of it free.
    pub fn new(total: Amounts) -> Self {
        Self { total, free: Mutex::new(total), changed: Notify::new() }
    }

    /// Waits until what a step asks for is free. A step that asks for more than there is gets all there is.
    pub async fn acquire(&self, wanted: Amounts) -> Permit<'_> {
        let wanted = wanted.least(&self.total);
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if self.take(&wanted) {
                return Permit { machine: self, held: wanted };
            }
            changed.await;
        }
    }

    fn take(&self, wanted: &Amounts) -> bool {
        let mut free = lock(&self.free);
        let fits = wanted.fits(&free);
        if fits {
            free.cpus -= wanted.cpus;
            free.memory -= wanted.memory;
            free.gpus -= wanted.gpus;
        }
        fits
    }
}

/// What a step holds while it runs.
pub struct Permit<'a> {
    machine: &'a Machine,
    held: Amounts,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut free = lock(&self.machine.free);
        free.cpus += self.held.cpus;
        free.memory = free.memory.saturating_add(self.held.memory);
        free.gpus = free.gpus.saturating_add(self.held.gpus);
        drop(free);
        self.machine.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn cpus(cpus: f64) -> Amounts {
        Amounts { cpus, memory: 0, gpus: 0 }
    }

    #[tokio::test]
    async fn steps_wait_until_there_is_room() {
        let machine = Arc::new(Machine::new(cpus(2.0)));
        let (one, two) = (machine.acquire(cpus(1.0)).await, machine.acquire(cpus(1.0)).await);
        let waiting = {
            let machine = machine.clone();
            tokio::spawn(async move { drop(machine.acquire(cpus(16.0)).await) })
        };
        drop(one);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        drop(two);
        tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    }
}
