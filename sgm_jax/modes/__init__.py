"""What the launcher can do with an experiment: one function a mode, results in the run's folder."""

from sgm_jax.modes.comparison import compare_guidance as compare_guidance
from sgm_jax.modes.comparison import compare_samplers as compare_samplers
from sgm_jax.modes.dry_run import dry_run as dry_run
from sgm_jax.modes.evaluation import evaluate as evaluate
from sgm_jax.modes.evaluation import measure_statistics as measure_statistics
from sgm_jax.modes.exporting import export as export
from sgm_jax.modes.inverse import invert as invert
from sgm_jax.modes.inverse import restore as restore
from sgm_jax.modes.inverse import save_restored as save_restored
from sgm_jax.modes.likelihood import MeasureLikelihood as MeasureLikelihood
from sgm_jax.modes.likelihood import measure as measure
from sgm_jax.modes.likelihood import measure_likelihood as measure_likelihood
from sgm_jax.modes.likelihood import save_likelihood as save_likelihood
from sgm_jax.modes.likelihood import summarise as summarise
from sgm_jax.modes.plan import plan as plan
from sgm_jax.modes.planning import suggest as suggest
from sgm_jax.modes.preparation import prepare as prepare
from sgm_jax.modes.preparation import sized as sized
from sgm_jax.modes.profiling import profile as profile
from sgm_jax.modes.quality import measure_quality as measure_quality
from sgm_jax.modes.quality import save_quality as save_quality
from sgm_jax.modes.quality import train_judge as train_judge
from sgm_jax.modes.reproduction import reproduce as reproduce
from sgm_jax.modes.sampling import beside_data as beside_data
from sgm_jax.modes.sampling import draw as draw
from sgm_jax.modes.sampling import fit as fit
from sgm_jax.modes.sampling import sample as sample
from sgm_jax.modes.sampling import save_samples as save_samples
from sgm_jax.modes.shared import CALIBRATION as CALIBRATION
from sgm_jax.modes.shared import CLASSIFIER as CLASSIFIER
from sgm_jax.modes.shared import FILM as FILM
from sgm_jax.modes.shared import HELD_OUT as HELD_OUT
from sgm_jax.modes.shared import INVERSE as INVERSE
from sgm_jax.modes.shared import LATENTS as LATENTS
from sgm_jax.modes.shared import LIKELIHOOD as LIKELIHOOD
from sgm_jax.modes.shared import PAIRS as PAIRS
from sgm_jax.modes.shared import SAMPLES as SAMPLES
from sgm_jax.modes.shared import TRAINING_DATA as TRAINING_DATA
from sgm_jax.modes.shared import Unsuitable as Unsuitable
from sgm_jax.modes.shared import available as available
from sgm_jax.modes.shared import check_workdir as check_workdir
from sgm_jax.modes.shared import examples as examples
from sgm_jax.modes.shared import held_out_batch as held_out_batch
from sgm_jax.modes.shared import is_image as is_image
from sgm_jax.modes.shared import is_labelled as is_labelled
from sgm_jax.modes.shared import is_restorable as is_restorable
from sgm_jax.modes.shared import stream as stream
from sgm_jax.modes.shared import write_json as write_json
from sgm_jax.modes.training import train as train
from sgm_jax.modes.training import train_to_end as train_to_end

MODES = {
    "suggest": suggest,
    "plan": plan,
    "train": train,
    "profile": profile,
    "fit": fit,
    "sample": sample,
    "likelihood": measure,
    "inverse": invert,
    "stats": measure_statistics,
    "evaluate": evaluate,
    "reproduce": reproduce,
    "guidance": compare_guidance,
    "samplers": compare_samplers,
    "export": export,
}
