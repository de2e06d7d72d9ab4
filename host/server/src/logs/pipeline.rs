//! The writing end of a build's log: redacts, cuts into frames, stores, announces.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::Bytes;
use ignite_core::{build::Step, ids::RunId, kaniko::LogReader, redact::Redactor};

use super::{hub::LogHub, position::Positions, scan::Scanner};
use crate::{
    executor::RawCursor,
    hooks::Gate,
    store::logs::{FRAME_BYTES_MAX, Frame, LogError, LogHead, LogStore},
    unsaid,
};

/// Read at once when a log is taken up again.
const READ_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error("the build's log could not be stored")]
    Store(#[from] LogError),
}

/// One run's log, written by the one task that drives the run.
#[derive(Debug)]
pub struct Pipeline {
    store: Arc<LogStore>,
    hub: Arc<LogHub>,
    run: RunId,
    redactor: Redactor,
    reader: LogReader,
    head: LogHead,
    /// Of the raw log that the redactor has seen.
    positions: Positions,
    /// Whether the log so far ends with a whole line, or is empty.
    ends_line: bool,
    kept: Kept,
    /// Why nothing of the log is shown.
    withheld: Option<String>,
    scanner: Option<Scanner>,
    /// A part of the log was withheld that the steps may be from.
    steps_hidden: bool,
}

/// The frames that the size limit may still take away: those behind the first half of it.
#[derive(Debug)]
struct Kept {
    bytes_max: u64,
    /// Offset and length, oldest first.
    tail: VecDeque<(u64, u64)>,
    tail_bytes: u64,
}

// === impl Pipeline ===

impl Pipeline {
    /// Continues the run's log where the store has it, or starts it behind the log of the attempt before.
    /// The second value is where to follow the executor from.
    pub async fn resume(
        store: Arc<LogStore>,
        hub: Arc<LogHub>,
        run: RunId,
        redactor: Redactor,
        mut reader: LogReader,
        bytes_max: u64,
    ) -> Result<(Self, RawCursor), PipelineError> {
        let begun = LogHead {
            run,
            raw_cursor: RawCursor::START,
            run_start_offset: 0,
            end_offset: 0,
            gap: None,
            lost: false,
            closed: false,
        };
        let head = match store.head(run.build).await? {
            None => begun,
            Some(head) if head.run == run => head,
            Some(head) => LogHead {
                run_start_offset: head.end_offset,
                end_offset: head.end_offset,
                gap: head.gap,
                ..begun
            },
        };
        if head.lost {
            reader.gap();
        }
        let mut kept = Kept {
            bytes_max,
            tail: VecDeque::new(),
            tail_bytes: 0,
        };
        let mut position = 0;
        let mut ends_line = true;
        while let Some(read) = store.read(run.build, position, READ_BYTES_MAX).await? {
            let Some(end) = read.frames.last().map(Frame::end) else {
                break;
            };
            for frame in &read.frames {
                if frame.offset >= head.run_start_offset {
                    if frame.offset > position {
                        reader.gap();
                    }
                    reader.push(&frame.data, frame.timestamp_ms);
                }
                kept.add(frame);
                ends_line = frame.data.ends_with(b"\n");
                position = frame.end();
            }
            position = end;
        }
        let from = head.raw_cursor;
        Ok((
            Self {
                store,
                hub,
                run,
                redactor,
                reader,
                head,
                positions: Positions::from(from),
                ends_line,
                kept,
                withheld: None,
                scanner: None,
                steps_hidden: false,
            },
            from,
        ))
    }

    /// Stores one line in place of the log, and shows neither steps nor messages that may be from it. The builder's words
    /// are read all the same, to tell how it ended: so the log is followed from its start after each restart, and the value is
    /// from where.
    pub fn withhold(&mut self, why: String) -> RawCursor {
        self.withheld = Some(why);
        self.positions = Positions::from(RawCursor::START);
        RawCursor::START
    }

    /// Has every line shown to plugins before it is stored.
    pub fn scan_with(&mut self, gate: Arc<dyn Gate>) {
        self.scanner = Some(Scanner::new(gate, self.head.raw_cursor));
    }

    /// Hides these values too, in all that is not stored yet.
    pub fn hide<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) {
        self.redactor.add(values);
    }

    /// Of what is hidden by now.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Takes raw log bytes that end at `end` in the executor's log; they are redacted, on disk and announced when this returns.
    pub async fn push(&mut self, raw: &[u8], end: RawCursor, now_ms: i64) -> Result<(), PipelineError> {
        if self.scanner.is_some() && self.withheld.is_none() {
            return self.push_scanned(raw, end, now_ms).await;
        }
        let mut redacted = Vec::with_capacity(raw.len());
        self.redactor.push(raw, &mut redacted);
        self.positions.advance(raw.len() as u64, end);
        if self.withheld.is_some() {
            self.reader.push(&redacted, now_ms);
            return self.say_withheld(now_ms).await;
        }
        // The cursor stands where the redactor holds nothing back: from there a fresh one says the same.
        self.head.raw_cursor = self.reflected(self.positions.sent());
        self.append(redacted, now_ms).await
    }

    /// A position between two lines is told by cutting what comes at its line ends.
    async fn push_scanned(&mut self, raw: &[u8], end: RawCursor, now_ms: i64) -> Result<(), PipelineError> {
        let mut at = self.positions.sent();
        self.positions.advance(raw.len() as u64, end);
        for line in raw.split_inclusive(|byte| *byte == b'\n') {
            let mut redacted = Vec::with_capacity(line.len());
            self.redactor.push(line, &mut redacted);
            at = at.saturating_add(line.len() as u64);
            let reflected = self.reflected(at);
            if let Some(scanner) = &mut self.scanner {
                scanner.push(&redacted, reflected);
            }
        }
        self.append_scanned(now_ms).await
    }

    /// How far in the raw log the redactor's output is, once it was given the first `sent` bytes.
    fn reflected(&mut self, sent: u64) -> RawCursor {
        self.positions
            .behind(sent.saturating_sub(self.redactor.held_bytes()))
    }

    async fn append_scanned(&mut self, now_ms: i64) -> Result<(), PipelineError> {
        let Some(scanner) = &mut self.scanner else {
            return Ok(());
        };
        let scanned = scanner.scan().await;
        self.head.raw_cursor = scanner.raw_cursor();
        let mut text = Vec::new();
        for piece in scanned {
            // How the builder ended is read from its own words, whatever is shown of them.
            self.reader
                .push(piece.withheld.as_deref().unwrap_or(&piece.text), now_ms);
            self.steps_hidden |= piece.withheld.is_some();
            match piece.withheld {
                // Why it is, is a plugin's word.
                Some(_) => text.extend(
                    self.redactor
                        .redact_text(&String::from_utf8_lossy(&piece.text))
                        .into_bytes(),
                ),
                None => text.extend(piece.text),
            }
        }
        self.store_text(text, now_ms).await
    }

    async fn say_withheld(&mut self, now_ms: i64) -> Result<(), PipelineError> {
        let Some(why) = &self.withheld else { return Ok(()) };
        if self.head.end_offset > self.head.run_start_offset {
            return Ok(());
        }
        let line = format!("[ignite] the log is withheld: {why}\n");
        self.store_text(line.into_bytes(), now_ms).await
    }

    /// A line of our own behind the run's log, on a line of its own. Written once, however often the end is come to.
    pub async fn last_note(&mut self, text: &str, now_ms: i64) -> Result<(), PipelineError> {
        if self.head.closed {
            return Ok(());
        }
        self.head.closed = true;
        let line = self.own_line(&self.redact_text(text));
        self.append(line, now_ms).await
    }

    /// The run's log is over: what was held back is let go.
    pub async fn finish(&mut self, now_ms: i64) -> Result<(), PipelineError> {
        let mut redacted = Vec::new();
        self.redactor.finish(&mut redacted);
        self.let_go(redacted, now_ms).await?;
        self.reader.finish(now_ms);
        Ok(())
    }

    /// A part of the raw log will never come; it goes on at `end`. `text`, which is ours, says so on a line of its
    /// own, and not again for those who take the log up from here. A secret that reaches into the gap is not known by what is left.
    pub async fn gap(&mut self, text: &str, end: RawCursor, now_ms: i64) -> Result<(), PipelineError> {
        let mut redacted = Vec::new();
        self.redactor.finish(&mut redacted);
        self.let_go(redacted, now_ms).await?;
        self.reader.gap();
        self.positions = Positions::from(end);
        if self.withheld.is_some() {
            return Ok(());
        }
        if let Some(scanner) = &mut self.scanner {
            scanner.end_line(end);
        }
        self.head.raw_cursor = end;
        self.head.lost = true;
        let line = self.own_line(text);
        self.store_text(line, now_ms).await
    }

    /// Takes what the redactor had held back of all it was given.
    async fn let_go(&mut self, redacted: Vec<u8>, now_ms: i64) -> Result<(), PipelineError> {
        let raw_end = self.positions.behind(self.positions.sent());
        if self.withheld.is_some() {
            self.reader.push(&redacted, now_ms);
            Ok(())
        } else if let Some(scanner) = &mut self.scanner {
            scanner.push(&redacted, raw_end);
            scanner.end_line(raw_end);
            self.append_scanned(now_ms).await
        } else {
            self.head.raw_cursor = raw_end;
            self.append(redacted, now_ms).await
        }
    }

    /// A line of our own, behind whatever stands before it.
    fn own_line(&self, text: &str) -> Vec<u8> {
        let start = if self.ends_line { "" } else { "\n" };
        format!("{start}[ignite] {text}\n").into_bytes()
    }

    /// What the builder has said so far.
    pub fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// The builder's steps so far, as they may be shown.
    pub fn steps(&self) -> &[Step] {
        match self.withheld.is_some() || self.steps_hidden {
            true => &[],
            false => self.reader.steps(),
        }
    }

    pub fn end_offset(&self) -> u64 {
        self.head.end_offset
    }

    /// For text of the run that does not come by the log.
    pub fn redact_text(&self, text: &str) -> String {
        match &self.withheld {
            Some(why) => format!("withheld: {why}"),
            None if self.steps_hidden => "withheld, as parts of the log are".to_owned(),
            None => unsaid::without(&self.redactor, text),
        }
    }

    async fn append(&mut self, redacted: Vec<u8>, now_ms: i64) -> Result<(), PipelineError> {
        self.reader.push(&redacted, now_ms);
        self.store_text(redacted, now_ms).await
    }

    async fn store_text(&mut self, redacted: Vec<u8>, now_ms: i64) -> Result<(), PipelineError> {
        if redacted.is_empty() {
            return Ok(());
        }
        self.ends_line = redacted.ends_with(b"\n");
        let mut frames = Vec::with_capacity(redacted.len() / FRAME_BYTES_MAX + 1);
        let mut rest = Bytes::from(redacted);
        while !rest.is_empty() {
            let data = rest.split_to(rest.len().min(FRAME_BYTES_MAX));
            let frame = Frame {
                offset: self.head.end_offset,
                timestamp_ms: now_ms,
                data,
            };
            self.head.end_offset = frame.end();
            self.kept.add(&frame);
            frames.push(frame);
        }
        let dropped = self.kept.make_room();
        if let Some(dropped) = &dropped {
            let start = self.head.gap.as_ref().map_or(dropped.start, |gap| gap.start);
            self.head.gap = Some(start..dropped.end);
        }
        self.store
            .append(self.run.build, frames.clone(), self.head.clone(), dropped)
            .await?;
        self.hub.publish(frames);
        Ok(())
    }
}

// === impl Kept ===

impl Kept {
    fn add(&mut self, frame: &Frame) {
        if frame.end() > self.bytes_max / 2 {
            let len = frame.data.len() as u64;
            self.tail.push_back((frame.offset, len));
            self.tail_bytes = self.tail_bytes.saturating_add(len);
        }
    }

    /// The range to drop so that head and tail are within the limit again.
    fn make_room(&mut self) -> Option<Range<u64>> {
        let (first, _) = *self.tail.front()?;
        let mut end = first;
        while self.tail_bytes > self.bytes_max / 2 && self.tail.len() > 1 {
            let Some((offset, len)) = self.tail.pop_front() else {
                break;
            };
            self.tail_bytes = self.tail_bytes.saturating_sub(len);
            end = offset.saturating_add(len);
        }
        (end > first).then_some(first..end)
    }
}
