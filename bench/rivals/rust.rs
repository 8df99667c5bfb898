// Copyright 2026 the Sabre authors. MIT license.

// What threads of a compiled language do with the same work: `rust <what> [producers] [count]`.

use std::collections::VecDeque;
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// As many items as the other queues hold.
const CAPACITY: usize = 16_384;

/// A bounded queue of a lock and two conditions.
struct Queue {
    items: Mutex<VecDeque<u32>>,
    not_empty: Condvar,
    not_full: Condvar,
}

impl Queue {
    fn put(&self, value: u32) {
        let mut items = self.items.lock().unwrap();
        while items.len() == CAPACITY {
            items = self.not_full.wait(items).unwrap();
        }
        items.push_back(value);
        drop(items);
        self.not_empty.notify_one();
    }

    fn get(&self) -> u32 {
        let mut items = self.items.lock().unwrap();
        loop {
            if let Some(value) = items.pop_front() {
                drop(items);
                self.not_full.notify_one();
                return value;
            }
            items = self.not_empty.wait(items).unwrap();
        }
    }
}

fn sync_ints(count: u32) -> Duration {
    let (sender, receiver) = sync_channel(CAPACITY);
    let producer = thread::spawn(move || (0..count).for_each(|i| sender.send(i).unwrap()));
    assert_eq!(receiver.recv(), Ok(0));
    let start = Instant::now();
    for i in 1..count {
        assert_eq!(receiver.recv(), Ok(i));
    }
    let time = start.elapsed();
    producer.join().unwrap();
    time
}

fn unbounded_ints(count: u32) -> Duration {
    let (sender, receiver) = channel();
    let producer = thread::spawn(move || (0..count).for_each(|i| sender.send(i).unwrap()));
    assert_eq!(receiver.recv(), Ok(0));
    let start = Instant::now();
    for i in 1..count {
        assert_eq!(receiver.recv(), Ok(i));
    }
    let time = start.elapsed();
    producer.join().unwrap();
    time
}

fn queue_ints(pairs: u32, count: u32) -> Duration {
    let queue = Arc::new(Queue {
        items: Mutex::new(VecDeque::with_capacity(CAPACITY)),
        not_empty: Condvar::new(),
        not_full: Condvar::new(),
    });
    let gate = Arc::new(Barrier::new(2 * pairs as usize + 1));
    let each = count / pairs;
    let producers: Vec<_> = (0..pairs)
        .map(|_| {
            let (queue, gate) = (queue.clone(), gate.clone());
            thread::spawn(move || {
                gate.wait();
                (0..each).for_each(|i| queue.put(i));
            })
        })
        .collect();
    let consumers: Vec<_> = (0..pairs)
        .map(|_| {
            let (queue, gate) = (queue.clone(), gate.clone());
            thread::spawn(move || {
                gate.wait();
                (0..each).map(|_| queue.get() as u64).sum::<u64>()
            })
        })
        .collect();
    gate.wait();
    let start = Instant::now();
    producers.into_iter().for_each(|thread| thread.join().unwrap());
    let sum: u64 = consumers.into_iter().map(|thread| thread.join().unwrap()).sum();
    let time = start.elapsed();
    assert_eq!(sum, pairs as u64 * (each as u64 * (each as u64 - 1) / 2));
    time
}

fn contended_mutex(count: u32) -> Duration {
    let value = Arc::new(Mutex::new(0u32));
    let gate = Arc::new(Barrier::new(3));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (value, gate) = (value.clone(), gate.clone());
            thread::spawn(move || {
                gate.wait();
                (0..count / 2).for_each(|_| *value.lock().unwrap() += 1);
            })
        })
        .collect();
    gate.wait();
    let start = Instant::now();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let time = start.elapsed();
    assert_eq!(*value.lock().unwrap(), count / 2 * 2);
    time
}

fn lone_mutex(count: u32) -> Duration {
    let value = Mutex::new(0u32);
    let start = Instant::now();
    for _ in 0..count {
        *std::hint::black_box(&value).lock().unwrap() += 1;
    }
    let time = start.elapsed();
    assert_eq!(*value.lock().unwrap(), count);
    time
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let count: u32 = args.last().unwrap().parse().unwrap();
    // Even, so that two can share it, and so that four pairs can.
    let count = (count / 8 + 1) * 8;
    let time = match args[1].as_str() {
        "sync_channel" => sync_ints(count),
        "channel" => unbounded_ints(count),
        "queue" => queue_ints(args[2].parse().unwrap(), count),
        "mutex" => contended_mutex(count),
        "lone_mutex" => lone_mutex(count),
        other => panic!("no measurement is called {other}"),
    };
    println!("{{\"count\":{count},\"time\":{}}}", time.as_secs_f64() * 1e3);
}
