"""What comes after the loop: the finalists graded again, baselines, picks taught, an audit."""
