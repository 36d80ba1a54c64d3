"""Every field there is, with its default. Other configs start from this one.

A field that is None is left to the default of whatever it belongs to; options that do not belong to the object
named in their section are refused.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.compilation_cache = True  # compiled programs are kept in the workdir
    config.sizing = "none"  # data: fields that are None are sized to the data and the machine (configs/images.py)
    # score, classifier, consistency, density, maximum_likelihood, progressive_distillation, reflow, vdm (see configs/)
    config.objective = "score"

    config.data = ConfigDict()
    config.data.name = "mnist"  # see docs/data.md for the names and their options
    config.data.transform = "affine"  # of integers to the model's data: affine, logit (x = logit(alpha + ...))
    config.data.low = placeholder(float)  # of affine, the range that they are mapped to: -1 to 1 unless given
    config.data.high = placeholder(float)
    config.data.alpha = placeholder(float)  # of logit, how far its argument stays from 0 and 1
    config.data.path = placeholder(str)
    config.data.size = placeholder(int)
    config.data.category = placeholder(str)  # of lsun
    config.data.count = placeholder(int)
    config.data.stride = placeholder(int)
    config.data.shape = placeholder(tuple)  # of arrays: what each example must have
    config.data.channels = placeholder(int)
    config.data.num_classes = placeholder(int)
    config.data.test_fraction = placeholder(float)
    config.data.dataset = placeholder(str)
    config.data.data_dir = placeholder(str)
    config.data.train_split = placeholder(str)
    config.data.test_split = placeholder(str)
    config.data.image_key = placeholder(str)
    config.data.label_key = placeholder(str)
    config.data.labels = placeholder(str)  # of folder: a CSV file with columns file,label
    config.data.filter = placeholder(str)  # of resizing: bicubic, bilinear, box, lanczos
    config.data.corrupt = placeholder(str)  # fatal, skip
    config.data.sha256 = placeholder(str)  # of a file that was downloaded by hand
    config.data.cache = 2**30  # bytes that decoded examples may take to stay in memory
    config.data.workers = 0  # processes that read and decode what does not
    config.data.prefetch = 4  # batches read ahead

    config.sde = ConfigDict()
    config.sde.name = "vp"  # cosine, edm, learned_vp, rectified_flow, subvp, ve, vp
    config.sde.t_min = placeholder(float)
    config.sde.t_max = placeholder(float)
    config.sde.beta_min = placeholder(float)
    config.sde.beta_max = placeholder(float)
    config.sde.sigma_min = placeholder(float)
    config.sde.sigma_max = placeholder(float)
    config.sde.offset = placeholder(float)
    config.sde.log_snr_max = placeholder(float)  # of learned_vp, where it starts
    config.sde.log_snr_min = placeholder(float)
    config.sde.width = placeholder(int)

    config.pretrained = placeholder(str)  # name of a network of the library's own, used in place of a trained one

    config.network = ConfigDict()
    config.network.name = "unet"  # energy_mlp, energy_unet, mlp, ncsn, ncsnv2, ncsnv2_deeper, ncsnv2_deepest, unet
    config.network.dtype = placeholder(str)  # to compute in: float32, bfloat16; parameters are float32
    config.network.remat = placeholder(str)  # of unet and dit, recomputed in the backward pass: none, block
    config.network.num_classes = placeholder(int)  # of a class-conditional model; the data need labels

    config.prediction = ConfigDict()
    # score, level_score, sigma_score, scaled_score, noise, step_noise, gamma_noise, denoised, velocity, flow, edm,
    # consistency
    config.prediction.name = "noise"
    config.prediction.sigma_data = placeholder(float)
    config.prediction.s_min = placeholder(float)  # of consistency, the SDE's smallest noise level
    config.prediction.sigma_begin = placeholder(float)  # of level_score, the network's noise levels
    config.prediction.sigma_end = placeholder(float)
    config.prediction.levels = placeholder(int)  # and of step_noise

    config.matching = ConfigDict()
    config.matching.name = "denoising"  # denoising, implicit, sliced, sliced_vr, finite_difference: docs/objectives.md
    config.matching.projection = placeholder(str)  # gaussian, rademacher, sphere
    config.matching.slices = placeholder(int)  # projections an example
    config.matching.step = placeholder(float)  # of finite_difference, in data units

    config.weighting = ConfigDict()
    config.weighting.name = "noise"  # noise, likelihood, edm, min_snr, flow, truncated_snr, snr_plus_one
    config.weighting.sigma_data = placeholder(float)
    config.weighting.gamma = placeholder(float)

    config.times = ConfigDict()
    config.times.name = (
        "uniform"  # uniform, log_normal, truncated_log_normal, log_uniform (for likelihood), karras, levels
    )
    config.times.quantiles = "stratified"  # stratified, independent
    config.times.mean = placeholder(float)
    config.times.std = placeholder(float)
    config.times.levels = placeholder(int)  # of levels: how many, and the schedule they follow
    config.times.schedule = placeholder(str)

    config.optimizer = ConfigDict()
    config.optimizer.name = "adam"  # adam, adamw, lion, muon, radam, sgd
    config.optimizer.learning_rate = 2e-4
    config.optimizer.schedule = "constant"  # constant, cosine, linear
    config.optimizer.warmup = 0  # steps
    config.optimizer.clip = 1.0  # largest gradient norm
    config.optimizer.b1 = placeholder(float)
    config.optimizer.b2 = placeholder(float)
    config.optimizer.eps = placeholder(float)
    config.optimizer.weight_decay = placeholder(float)
    config.optimizer.adam_ratio = placeholder(float)  # muon: Adam's learning rate in units of Muon's

    config.train = ConfigDict()
    config.train.batch_size = 128
    config.train.steps = 100_000
    config.train.chain_steps = placeholder(int)  # of objective vdm: steps of a discrete chain, None for continuous time
    config.train.accumulate = 1  # slices a batch is worked through in
    config.train.reduction = "half_mean"  # of the squared error over dimensions: mean, sum, half_mean, half_sum
    config.train.dequantisation = "uniform"  # uniform, none
    config.train.ema_rate = 0.999
    config.train.ema_warmup = "harmonic"  # harmonic, half_life, none
    config.train.label_dropout = 0.1  # share of labels withheld from a class-conditional network, for guidance
    config.train.augmentation = "none"  # none, flip, edm (with network.augment_labels = 9)
    config.train.augment_probability = placeholder(float)  # of edm
    config.train.log_every = 50
    config.train.eval_every = 1000
    config.train.eval_examples = 512
    config.train.checkpoint_every = 1000
    config.train.keep = 2  # latest checkpoints
    config.train.keep_every = placeholder(int)  # steps between checkpoints that are kept for good besides
    config.train.checkpoints = placeholder(str)  # folder or bucket (gs://..., s3://...) for them, not the workdir
    config.train.posthoc = ()  # relative widths of averages for sampling.ema_width, such as (0.05, 0.1)
    config.train.posthoc_every = 1000  # steps between stored ones
    config.train.skip_limit = 0  # updates that are not finite that are left out before training stops
    config.train.step_timeout = placeholder(float)  # seconds without an update after which the process ends
    config.train.trace = ()  # first and last step to trace with the profiler
    config.train.tensorboard = False  # metrics for TensorBoard too

    config.distillation = ConfigDict()  # of objectives that learn from another trained model: docs/few_step.md
    config.distillation.teacher = placeholder(str)  # folder of it, or the name of a network of the library's own
    config.distillation.start = "teacher"  # what parameters training starts from: teacher, random
    config.distillation.guidance = 1.0  # the teacher's classifier-free scale
    config.distillation.rounds = 4  # of progressive_distillation, each of which halves the number of steps
    config.distillation.steps = 24  # of the teacher's sampler, DPM-Solver++, in pairs for reflow, and trajectories
    config.distillation.pairs = 0  # of them, made once into a folder; 0 for new ones in every step

    config.consistency = ConfigDict()  # of objective consistency: docs/few_step.md
    # distillation, training, continuous_distillation, continuous_training, trajectories
    config.consistency.name = "distillation"
    config.consistency.levels = placeholder(str)  # how many noise levels there are: fixed, progressive, doubling
    config.consistency.first = placeholder(int)  # of them, at the start of progressive and doubling
    config.consistency.last = placeholder(int)  # and at the end
    config.consistency.rho = placeholder(float)  # of their schedule
    config.consistency.distance = placeholder(str)  # l1, l2, pseudo_huber
    config.consistency.weighting = placeholder(str)  # of a pair of levels: uniform, inverse_gap
    config.consistency.teacher_step = placeholder(str)  # euler, heun
    config.consistency.target = placeholder(str)  # parameters compared with: student, average, progressive
    config.consistency.target_rate = placeholder(float)  # decay of the average, of progressive at the start
    config.consistency.top = placeholder(float)  # of trajectories, the share of examples at their first states
    config.consistency.data_scale = placeholder(float)  # of the continuous ones, the data's standard deviation
    config.consistency.warmup = placeholder(int)  # and the steps within which their tangent grows to all it is
    config.consistency.adaptive = placeholder(bool)  # and whether a weighting of noise levels is trained beside

    config.parallel = ConfigDict()
    config.parallel.mode = "jit"  # jit (over a mesh), pmap (replicated)
    config.parallel.data = -1  # devices along each axis of the mesh; -1 for all that remain
    config.parallel.fsdp = 1  # splits the batch and the state
    config.parallel.model = 1  # splits the channels
    config.parallel.steps_per_dispatch = 1  # updates in one call of the compiled step

    config.sampling = ConfigDict()
    config.sampling.process = "probability_flow"  # probability_flow, reverse_sde
    config.sampling.eta = 1.0  # noise strength of reverse_sde
    config.sampling.solver = "dpm_solver_pp"  # docs/sampling.md lists them all
    config.sampling.order = placeholder(
        int
    )  # of dpm_solver_pp, sde_dpm_solver_pp, unipc, deis, sa_solver, soft_adams, tabulated
    config.sampling.variance = placeholder(str)  # of ancestral: small, large
    config.sampling.snr = placeholder(float)  # of Langevin steps
    config.sampling.corrector_steps = placeholder(int)
    config.sampling.s_churn = placeholder(float)  # of churn
    config.sampling.s_noise = placeholder(float)
    config.sampling.data_scale = placeholder(float)  # of soft_adams and uniform_angle
    config.sampling.detail = placeholder(float)  # of soft_adams
    config.sampling.schedule = "karras"  # docs/sampling.md lists them all; fitted: what --mode=fit found
    config.sampling.steps = 24
    config.sampling.rho = placeholder(float)
    config.sampling.s_min = placeholder(float)
    config.sampling.s_max = placeholder(float)
    config.sampling.t_min = placeholder(float)
    config.sampling.to_zero = False  # make the last step one to zero noise (then set final to none)
    config.sampling.final = "tweedie"  # tweedie (one more evaluation, which denoises), none
    config.sampling.threshold = "none"  # of the denoised estimate: none, static, dynamic
    config.sampling.rtol = placeholder(float)  # adaptive steps: set these two, and steps to None
    config.sampling.atol = placeholder(float)
    config.sampling.label = placeholder(object)  # None, "balanced" (classes in turn), or a class
    config.sampling.guidance = 1.0  # classifier-free scale: 0 unconditional, 1 conditional, more is stronger
    config.sampling.classifier = placeholder(str)  # folder of a classifier (configs/classifier.py) to guide by instead
    config.sampling.guide = placeholder(str)  # or that of a worse model to guide away from
    config.sampling.guidance_interval = placeholder(tuple)  # noise levels (low, high) of guidance, None for all
    config.sampling.guidance_scales = (0.0, 1.0, 1.3, 2.0, 4.0)  # that --mode=guidance compares
    # That --mode=samplers compares: fields of this section that differ, the solver's own options where none are named.
    config.sampling.compared = (
        "solver=ddim,steps=12",
        "solver=ddim,steps=24",
        "solver=heun,steps=12",
        "solver=dpm_solver_pp,steps=6",
        "solver=dpm_solver_pp,steps=12",
        "solver=dpm_solver_pp,steps=24",
        "process=reverse_sde,solver=ancestral,steps=48",
    )
    config.sampling.ema_width = placeholder(float)  # of an average chosen after training with train.posthoc
    config.sampling.checkpoint = placeholder(int)  # step of the checkpoint to use, the newest unless given
    config.sampling.count = 500
    config.sampling.batch_size = 100
    config.sampling.platforms = ("cpu", "cuda", "tpu")  # of the sampler that --mode=export writes; () for none

    config.evaluation = ConfigDict()
    config.evaluation.features = (
        "classifier"  # classifier (trained on the labels), inception, points (data as they are)
    )
    config.evaluation.metrics = ("fid",)  # fid, sfid, inception_score, kid, precision_recall, density_coverage, cmmd
    config.evaluation.count = placeholder(int)  # samples; sampling.count unless given
    config.evaluation.checkpoints = "latest"  # latest, all (the best is measured again with other samples)
    config.evaluation.statistics = placeholder(str)  # file to compare with; those of the data unless given
    config.evaluation.split = "train"  # that --mode=stats measures
    config.evaluation.weights = placeholder(str)  # of Inception: docs/evaluation.md says where they come from
    config.evaluation.variant = "fid"  # fid, tfgan
    config.evaluation.resize = "tensor_bilinear"  # tensor_bilinear, half_pixel_bilinear, clean
    config.evaluation.batch_size = 64  # images at a time through the feature network
    config.evaluation.keep = 10_000  # features kept for kid, precision_recall, density_coverage and cmmd
    config.evaluation.splits = 10  # of inception_score
    config.evaluation.save_every = 10  # batches between saves, from which a killed evaluation goes on

    config.published = ConfigDict()  # what --mode=reproduce compares with
    config.published.fid = placeholder(float)
    config.published.inception_score = placeholder(float)
    config.published.bits_per_dim = placeholder(float)

    config.fit = ConfigDict()  # of sampling.schedule "fitted", by --mode=fit
    config.fit.start = "karras"  # the schedule it starts from, with the options above
    config.fit.count = 32  # calibration noises
    config.fit.rounds = 1  # of the search over the levels, where the solver is tabulated
    config.fit.iterations = 12  # of Levenberg and Marquardt's method, where it is another

    config.likelihood = ConfigDict()
    config.likelihood.split = "test"  # test, train
    config.likelihood.count = 128  # examples of it, the first ones; None for all
    config.likelihood.batch_size = 64
    config.likelihood.repeats = 1  # of the whole measurement, with other dequantisations and projections: averaged
    config.likelihood.importance = 1  # dequantisations that one importance-weighted bound is made of
    config.likelihood.divergence = "hutchinson"  # hutchinson, hutch++, exact
    config.likelihood.probes = placeholder(int)  # of hutchinson and hutch++
    config.likelihood.draws = 16  # noise levels an example, of the bound that objective vdm measures
    config.likelihood.rtol = 1e-3
    config.likelihood.atol = 1e-3
    config.likelihood.data_scale = 0.5  # standard deviation of the data, in the model's range

    config.inverse = ConfigDict()
    # colorize, compressed_sensing, ct, deblur, high_dynamic_range, inpaint, jpeg, mri, phase_retrieval,
    # super_resolution
    config.inverse.task = "inpaint"
    # annealed_langevin, consistency, ddnm, ddnm_plus, ddrm, diffpir, dps, mcg, moment_matching, pigdm, projection,
    # repaint, replacement, twisted
    config.inverse.method = "replacement"
    config.inverse.noise_std = 0.0  # of the measurement, in its units
    config.inverse.input = placeholder(str)  # image, folder or zip archive of one's own, in place of held-out ones
    config.inverse.count = 6  # images
    config.inverse.draws = 3  # restorations of each
    config.inverse.steps = 100
    # Of annealed_langevin and projection: langevin, predictor_corrector; None for the method's own.
    config.inverse.sampler = placeholder(str)
    config.inverse.snr = 0.16  # of its Langevin steps
    config.inverse.corrector_steps = 1
    config.inverse.mask = placeholder(str)  # of inpaint: lower_half, right_half, box, random, free_form
    config.inverse.factor = placeholder(int)  # of super_resolution
    config.inverse.filter = placeholder(str)  # of super_resolution: average, bicubic
    config.inverse.kernel = placeholder(str)  # of deblur: gaussian, motion, uniform
    config.inverse.width = placeholder(int)  # of deblur, in pixels
    config.inverse.share = placeholder(float)  # of compressed_sensing
    config.inverse.angles = placeholder(int)  # of ct
    config.inverse.acceleration = placeholder(float)  # of mri
    config.inverse.lines = placeholder(str)  # of mri: equispaced, radial, random
    config.inverse.oversampling = placeholder(float)  # of phase_retrieval
    config.inverse.gain = placeholder(float)  # of high_dynamic_range
    config.inverse.quality = placeholder(int)  # of jpeg
    config.inverse.scale = placeholder(float)  # of dps
    config.inverse.prior_std = placeholder(float)  # of pigdm and twisted
    config.inverse.strength = placeholder(float)  # of projection
    config.inverse.weight = placeholder(float)  # of diffpir
    config.inverse.zeta = placeholder(float)
    config.inverse.eta = placeholder(float)  # of ddrm
    config.inverse.eta_b = placeholder(float)
    config.inverse.repeats = placeholder(int)  # of repaint and ddnm_plus
    config.inverse.iterations = placeholder(int)  # of moment_matching
    config.inverse.rate = placeholder(float)  # of annealed_langevin
    return config


def shrink(config: ConfigDict) -> None:
    """Make every expensive field small, as the `smoke` variants have it."""
    config.network.channels = 8
    config.network.multipliers = (1,)
    config.train.steps = 40
    config.train.batch_size = 32
    config.train.log_every = 10
    config.train.eval_every = 20
    config.train.eval_examples = 64
    config.train.checkpoint_every = 20
    config.sampling.count = 32
    config.sampling.batch_size = 32
    config.sampling.steps = 8
    config.likelihood.count = 8
    config.likelihood.batch_size = 8
    config.inverse.count = 4
    config.inverse.draws = 1
    config.inverse.steps = 10
