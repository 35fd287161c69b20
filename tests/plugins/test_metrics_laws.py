"""The laws of metrics, over ours."""

from wedge_metrics.frc import Frc
from wedge_metrics.fsc import Fsc
from wedge_metrics.psnr import CEILING_DB, Psnr
from wedge_metrics.ssim import Ssim
from wedge_metrics.vif import Vif, VifOptions
from wedge_metrics.wedge_energy import WedgeEnergy

from wedge.testing import MetricLaws


class TestPsnr(MetricLaws):
    make = Psnr
    identity = CEILING_DB
    symmetric = True


class TestSsim(MetricLaws):
    make = Ssim
    identity = 1.0
    symmetric = True


class TestVif(MetricLaws):
    make = Vif
    identity = 1.0


class TestVifOfTheStudy(MetricLaws):
    identity = 1.0

    def make(self) -> Vif:
        return Vif(VifOptions(variant="study"))


class TestFrc(MetricLaws):
    make = Frc
    identity = 1.0
    scale_invariant = True
    symmetric = True


class TestFsc(MetricLaws):
    make = Fsc
    identity = 1.0
    scale_invariant = True
    symmetric = True


class TestWedgeEnergy(MetricLaws):
    make = WedgeEnergy
    identity = 1.0
