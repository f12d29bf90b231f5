"""A race without Ray and the contract of a policy, for tests and for studies of policies.

Example:
    Whether a policy of your own is sound, in a test::

        from tune_seeds.testing import check_policy

        def test_my_policy_is_sound():
            check_policy(lambda: MyPolicy(epochs=(1, 3, 9), n_seeds=3), n_finalists=1)
"""

from tune_seeds.testing.contract import PolicyContractError, check_policy
from tune_seeds.testing.driver import Driver, replayed

__all__ = ["Driver", "PolicyContractError", "check_policy", "replayed"]
