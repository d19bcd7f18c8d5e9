//! Backpropagation through the encoder to its mel bands, by hand: candle's own would also make the gradients of the
//! weights, three times the work.

use candle_core::{D, DType, Device, Result, Tensor};

use super::{HIDDEN, LstmLayer};

/// What one layer's backward pass needs of its forward pass, per step.
pub(super) struct Trace {
    steps: Vec<Step>,
}

struct Step {
    input_gate: Tensor,
    forget_gate: Tensor,
    candidate: Tensor,
    output_gate: Tensor,
    cell_before: Tensor,
    cell_tanh: Tensor,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self { steps: Vec::new() }
    }

    /// Gates in torch's order: input, forget, candidate, output; then the cell before and the squashed one after.
    pub(super) fn record(&mut self, gates: [Tensor; 4], cell_before: Tensor, cell_tanh: Tensor) {
        let [input_gate, forget_gate, candidate, output_gate] = gates;
        self.steps.push(Step { input_gate, forget_gate, candidate, output_gate, cell_before, cell_tanh });
    }

    /// From the gradient of the layer's outputs (one per step) to that of its inputs (batch, time, features).
    pub(super) fn backward(&self, layer: &LstmLayer, outputs: &[Option<Tensor>]) -> Result<Tensor> {
        let batch = self.steps.first().map_or(Ok(0), |step| step.candidate.dim(0))?;
        let mut hidden = Tensor::zeros((batch, HIDDEN), DType::F32, &Device::Cpu)?;
        let mut cell = hidden.clone();
        // Strided, they would be packed anew at every step.
        let hidden_weights = layer.hidden.t()?.contiguous()?;
        let mut gates = Vec::with_capacity(self.steps.len());
        for (step, output) in self.steps.iter().zip(outputs).rev() {
            if let Some(output) = output {
                hidden = (hidden + output)?;
            }
            let output_gate = (&hidden * &step.cell_tanh)?;
            cell = (cell + (&hidden * &step.output_gate)?.mul(&one_minus_square(&step.cell_tanh)?)?)?;
            let gate = Tensor::cat(
                &[
                    through_sigmoid(&(&cell * &step.candidate)?, &step.input_gate)?,
                    through_sigmoid(&(&cell * &step.cell_before)?, &step.forget_gate)?,
                    (&cell * &step.input_gate)?.mul(&one_minus_square(&step.candidate)?)?,
                    through_sigmoid(&output_gate, &step.output_gate)?,
                ],
                1,
            )?;
            cell = (cell * &step.forget_gate)?;
            hidden = gate.matmul(&hidden_weights)?;
            gates.push(gate);
        }
        gates.reverse();
        let gates = Tensor::stack(&gates, 1)?;
        let (batch, time, width) = gates.dims3()?;
        let inputs = gates.reshape((batch * time, width))?.matmul(&layer.input.t()?)?;
        inputs.reshape((batch, time, ()))
    }
}

/// The gradient of `cosine(sum of unit(relu(linear)), target)` with respect to each window's linear output.
pub(super) fn of_similarity(linear: &Tensor, target: &[f32]) -> Result<(f32, Tensor)> {
    let activated = linear.relu()?;
    let lengths = (activated.sqr()?.sum_keepdim(D::Minus1)?.sqrt()? + f64::from(f32::EPSILON))?;
    let units = activated.broadcast_div(&lengths)?;
    let sum = units.sum(0)?;
    let sum_length = f64::from(sum.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>()?) + f64::from(f32::EPSILON);
    let target = Tensor::new(target, &Device::Cpu)?;
    let similarity = f64::from((&sum * &target)?.sum_all()?.to_scalar::<f32>()?) / sum_length;
    // d(s·t/|s|)/ds, then d(a/|a|)/da, then the rectifier.
    let by_sum = ((target - (sum * (similarity / sum_length))?)? / sum_length)?;
    let along = units.broadcast_mul(&by_sum)?.sum_keepdim(D::Minus1)?;
    let by_activated = units.broadcast_mul(&along)?.neg()?.broadcast_add(&by_sum)?.broadcast_div(&lengths)?;
    let open = linear.gt(&linear.zeros_like()?)?.to_dtype(DType::F32)?;
    Ok((similarity as f32, (by_activated * open)?))
}

fn one_minus_square(tensor: &Tensor) -> Result<Tensor> {
    tensor.sqr()?.affine(-1.0, 1.0)
}

fn through_sigmoid(gradient: &Tensor, gate: &Tensor) -> Result<Tensor> {
    gradient.mul(gate)?.mul(&gate.affine(-1.0, 1.0)?)
}
