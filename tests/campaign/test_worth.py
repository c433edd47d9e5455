from mfal.campaign.measured import Worth


def test_a_crystal_of_which_only_a_limit_is_calculated_stands_behind_the_others():
    melted = Worth(-0.5, None, "calculated", "below")
    still = Worth(-2.0, None, "calculated", "below")
    slow = Worth(-1.9, 0.3, "calculated")
    fast = Worth(-0.7, 0.1, "calculated")
    measured = Worth(-3.0, None, "measured", "below")
    found = sorted([melted, still, slow, measured, fast], key=lambda one: one.order(True))
    assert found == [fast, slow, measured, melted, still]
    # What is at least so good is no worse than its value.
    assert Worth(-1.0, None, "calculated", "above").order(True) < slow.order(True)
    assert Worth(1.0, None, "calculated", "above").order(False)[0]
