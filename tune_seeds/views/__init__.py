"""What people see of a study: terminal, tables, TensorBoard, trackers, report."""
