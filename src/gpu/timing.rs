//! How long the dispatches of a program take: by the device's own clock where it has one, else by the host's clock around
//! many runs of a few of them.

use super::Gpu;
use super::program::Program;
use crate::error::Result;
use web_time::Instant;

/// Dispatches per query set: a set holds 4096 timestamps at most, and each dispatch takes two.
const MAX_STAMPED: usize = 2048;

/// One run of a program, every dispatch timed by the device.
#[derive(Clone, Debug)]
pub struct Stamped {
    /// Seconds of each dispatch. A driver's fault may make them zero, negative or larger than `wall`.
    pub dispatches: Vec<f64>,
    /// Seconds of the whole by the host's clock, from encoding to reading the times.
    pub wall: f64,
}

impl Gpu {
    /// Runs `program` once with every dispatch in a pass of its own, the finest that all devices and browsers time.
    /// The device must have timestamps.
    pub async fn stamp(&self, program: &Program) -> Result<Stamped> {
        self.check("timing a program")?;
        let start = Instant::now();
        let all: Vec<usize> = (0..program.n_dispatches()).collect();
        let mut dispatches = Vec::with_capacity(all.len());
        for some in all.chunks(MAX_STAMPED) {
            dispatches.extend(self.stamp_some(program, some).await?);
        }
        Ok(Stamped { dispatches, wall: start.elapsed().as_secs_f64() })
    }

    async fn stamp_some(&self, program: &Program, which: &[usize]) -> Result<Vec<f64>> {
        let count = 2 * which.len() as u32;
        let stamps = self.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("timestamps"),
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let n_bytes = u64::from(count) * 8;
        let resolved =
            self.make("timestamps", n_bytes, wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let to = self.read_back(n_bytes);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for (i, step) in which.iter().enumerate() {
            let timestamp_writes = wgpu::ComputePassTimestampWrites {
                query_set: &stamps,
                beginning_of_pass_write_index: Some(2 * i as u32),
                end_of_pass_write_index: Some(2 * i as u32 + 1),
            };
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(timestamp_writes) };
            program.encode_some(&mut encoder.begin_compute_pass(&descriptor), &[*step]);
        }
        encoder.resolve_query_set(&stamps, 0..count, &resolved.0, 0);
        encoder.copy_buffer_to_buffer(&resolved.0, 0, &to.buffer, 0, n_bytes);
        self.queue.submit([encoder.finish()]);
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&self.fetch(&to, n_bytes).await?);
        let seconds_per_tick = f64::from(self.queue.get_timestamp_period()) * 1e-9;
        // The difference of two unsigned stamps, signed: a clock that runs backwards must show.
        Ok(ticks.chunks(2).map(|pair| pair[1].wrapping_sub(pair[0]) as i64 as f64 * seconds_per_tick).collect())
    }

    /// Runs the dispatches `which` of `program` `times` times in one pass and waits: seconds by the host's clock.
    pub async fn time_some(&self, program: &Program, which: &[usize], times: usize) -> Result<f64> {
        self.check("timing a program")?;
        let start = Instant::now();
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for _ in 0..times {
                program.encode_some(&mut pass, which);
            }
        }
        self.queue.submit([encoder.finish()]);
        self.flush("timing a program").await?;
        Ok(start.elapsed().as_secs_f64())
    }
}
