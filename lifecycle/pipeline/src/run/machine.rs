//! The machine's cores, memory, graphics cards and whatever else is scarce, as far as steps may use them at
//! once.
//!
//! Who waits stands in a queue. What comes free goes to the first whom it suffices: a large step does not
//! keep small ones from using what it cannot use yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use rondo_project::project::Resources;
use tokio::sync::oneshot;

use crate::worktree::lock;

/// An amount of each.
#[derive(Debug, Clone, PartialEq)]
pub struct Amounts {
    /// Cores.
    pub cpus: f64,
    /// Bytes.
    pub memory: u64,
    /// Graphics cards.
    pub gpus: u32,
    /// What the project has names of its own for. Of a name that is not here there is one.
    pub custom: BTreeMap<String, u32>,
}

impl Amounts {
    /// What a step asks for: one core where it says nothing.
    pub fn wanted(resources: &Resources) -> Self {
        Self {
            cpus: resources.cpus.unwrap_or(1.0),
            memory: resources.memory.unwrap_or(0),
            gpus: resources.gpus.unwrap_or(0),
            custom: resources.custom.iter().map(|(name, amount)| (name.to_owned(), *amount)).collect(),
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
            custom: BTreeMap::new(),
        }
    }

    fn of(&self, custom: &str) -> u32 {
        self.custom.get(custom).copied().unwrap_or(1)
    }

    fn fits(&self, free: &Self) -> bool {
        self.cpus <= free.cpus + 1e-9
            && self.memory <= free.memory
            && self.gpus <= free.gpus
            && self.custom.iter().all(|(name, amount)| *amount <= free.of(name))
    }

    fn least(&self, other: &Self) -> Self {
        let custom = self.custom.iter().map(|(name, amount)| (name.clone(), (*amount).min(other.of(name))));
        Self {
            cpus: self.cpus.min(other.cpus),
            memory: self.memory.min(other.memory),
            gpus: self.gpus.min(other.gpus),
            custom: custom.collect(),
        }
    }
}

fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
}

/// How many of the first in the queue may be passed by one behind them.
const PASSED: usize = 64;

/// What is free, and who waits for it.
pub struct Machine {
    total: Amounts,
    state: Mutex<State>,
}

struct State {
    free: Amounts,
    /// The numbers of the graphics cards that are free.
    cards: Vec<u32>,
    waiting: VecDeque<(Amounts, oneshot::Sender<Vec<u32>>)>,
}

impl Machine {
    /// A machine with so much, all of it free.
    pub fn new(total: Amounts) -> Self {
        let cards = (0..total.gpus).rev().collect();
        let state = State { free: total.clone(), cards, waiting: VecDeque::new() };
        Self { total, state: Mutex::new(state) }
    }

    /// Waits until what a step asks for is free. A step that asks for more than there is gets all there is.
    pub async fn acquire(&self, wanted: Amounts) -> Permit<'_> {
        let wanted = wanted.least(&self.total);
        let answer = {
            let mut state = lock(&self.state);
            match state.take(&wanted) {
                Some(cards) => return Permit { machine: self, held: wanted, cards },
                None => {
                    let (sender, answer) = oneshot::channel();
                    state.waiting.push_back((wanted.clone(), sender));
                    answer
                }
            }
        };
        // The sender lives in the queue until it is answered.
        let cards = Waiting { machine: self, wanted: &wanted, answer: Some(answer) }.cards().await;
        Permit { machine: self, held: wanted, cards }
    }

    fn give_back(&self, held: &Amounts, cards: &[u32]) {
        let mut state = lock(&self.state);
        state.put(held, cards);
        state.serve();
    }
}

/// Somebody in the queue, who may leave it: what was given in that moment goes back.
struct Waiting<'a> {
    machine: &'a Machine,
    wanted: &'a Amounts,
    answer: Option<oneshot::Receiver<Vec<u32>>>,
}

impl Waiting<'_> {
    async fn cards(mut self) -> Vec<u32> {
        let cards = match &mut self.answer {
            Some(answer) => answer.await.unwrap_or_default(),
            None => Vec::new(),
        };
        self.answer = None;
        cards
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let given = self.answer.take().and_then(|mut answer| {
            answer.close();
            answer.try_recv().ok()
        });
        if let Some(cards) = given {
            self.machine.give_back(self.wanted, &cards);
        }
    }
}

impl State {
    fn take(&mut self, wanted: &Amounts) -> Option<Vec<u32>> {
        if !wanted.fits(&self.free) {
            return None;
        }
        self.free.cpus -= wanted.cpus;
        self.free.memory -= wanted.memory;
        self.free.gpus -= wanted.gpus;
        for (name, amount) in &wanted.custom {
            let left = self.free.of(name).saturating_sub(*amount);
            self.free.custom.insert(name.clone(), left);
        }
        Some((0..wanted.gpus).filter_map(|_| self.cards.pop()).collect())
    }

    fn put(&mut self, held: &Amounts, cards: &[u32]) {
        self.free.cpus += held.cpus;
        self.free.memory = self.free.memory.saturating_add(held.memory);
        self.free.gpus = self.free.gpus.saturating_add(held.gpus);
        for (name, amount) in &held.custom {
            let left = self.free.of(name).saturating_add(*amount);
            self.free.custom.insert(name.clone(), left);
        }
        self.cards.extend(cards);
    }

    /// Gives what is free to those who wait, the first first.
    fn serve(&mut self) {
        let mut place = 0;
        while let Some((wanted, _)) = self.waiting.get(place).filter(|_| place < PASSED) {
            if !wanted.fits(&self.free) {
                place += 1;
                continue;
            }
            let Some((wanted, sender)) = self.waiting.remove(place) else { return };
            let cards = self.take(&wanted).unwrap_or_default();
            if let Err(cards) = sender.send(cards) {
                self.put(&wanted, &cards);
            }
        }
    }
}

/// What a step holds while it runs.
pub struct Permit<'a> {
    machine: &'a Machine,
    held: Amounts,
    /// The numbers of its graphics cards.
    pub cards: Vec<u32>,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.machine.give_back(&self.held, &self.cards);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn cpus(cpus: f64) -> Amounts {
        Amounts { cpus, memory: 0, gpus: 0, custom: BTreeMap::new() }
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

    #[tokio::test]
    async fn small_steps_pass_a_large_one_and_who_leaves_the_queue_holds_nothing() {
        let machine = Arc::new(Machine::new(cpus(2.0)));
        let one = machine.acquire(cpus(1.0)).await;
        let large = {
            let machine = machine.clone();
            tokio::spawn(async move { drop(machine.acquire(cpus(2.0)).await) })
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
        let small = tokio::time::timeout(Duration::from_secs(10), machine.acquire(cpus(1.0))).await.unwrap();
        large.abort();
        assert!(large.await.unwrap_err().is_cancelled());
        drop((one, small));
        tokio::time::timeout(Duration::from_secs(10), machine.acquire(cpus(2.0))).await.unwrap();
    }

    #[tokio::test]
    async fn of_what_has_a_name_of_its_own_there_is_one_unless_more_is_said() {
        let custom = |amount: u32| {
            let custom = BTreeMap::from([("seat".to_owned(), amount)]);
            Amounts { custom, ..cpus(0.1) }
        };
        let machine = Machine::new(cpus(8.0));
        let one = machine.acquire(custom(1)).await;
        assert!(tokio::time::timeout(Duration::from_millis(50), machine.acquire(custom(1))).await.is_err());
        drop(one);
        machine.acquire(custom(5)).await;
        let machine = Machine::new(Amounts { cpus: 8.0, ..custom(2) });
        let _both = (machine.acquire(custom(1)).await, machine.acquire(custom(1)).await);
    }

    #[tokio::test]
    async fn each_step_has_graphics_cards_of_its_own() {
        let gpus = |gpus: u32| Amounts { gpus, ..cpus(0.1) };
        let machine = Machine::new(Amounts { gpus: 3, ..cpus(8.0) });
        let (one, two) = (machine.acquire(gpus(1)).await, machine.acquire(gpus(2)).await);
        assert_eq!((one.cards.clone(), two.cards.clone()), (vec![0], vec![1, 2]));
        drop(two);
        assert_eq!(machine.acquire(gpus(1)).await.cards.len(), 1);
    }
}
