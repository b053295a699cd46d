"""Faults in inference and in metrics."""

FAULTS = {
    "kdwsd/evaluation/classification.py": [
        ("known[row, image.unknown_label_ids] = False", "pass"),
        ("np.append(np.diff(score[order]) != 0, True)[:len(order)]",
         "np.ones(len(order), bool)"),
        ("np.asarray(probabilities) >= threshold",
         "np.asarray(probabilities) > threshold"),
        ("_ratio(right, given)[some].mean()", "_ratio(right, given).mean()"),
        ("_ratio(2 * right, present + given)[some].mean()",
         "_ratio(2 * precision * recall, precision + recall)"),
    ],
    "kdwsd/evaluation/detection.py": [
        ("box_ops.pairwise_iou(boxes, boxes) > nms_iou",
         "box_ops.pairwise_iou(boxes, boxes) >= nms_iou"),
        ("above = scores > score_threshold",
         "above = scores >= score_threshold"),
        ("hits &= objects >= 0", "pass"),
        ("counted = (objects < 0) |", "counted = (objects < 0) | True |"),
        ("np.bincount(\n        truth.class_ids[~set_aside]",
         "np.bincount(\n        truth.class_ids"),
        ("order = np.lexsort((-scores, class_ids))",
         "order = np.lexsort((scores, class_ids))"),
    ],
    "kdwsd/evaluation/inference.py": [
        ('boxes = batches[0]["proposals"].numpy()',
         'boxes = batches[-1]["proposals"].numpy()'),
        (".astype(np.float32) / len(views)", ".astype(np.float32)"),
        ("boxes[row][keep],", "boxes[row],"),
        ("batch_size=batch_size, mirror=mirrored)",
         "batch_size=batch_size, mirror=False)"),
    ],
    "kdwsd/evaluation/precision_recall.py": [
        ("levels = np.arange(11) / 10", "levels = np.arange(1, 11) / 10"),
        ("recall = true_positives / max(num_positives, 1)",
         "recall = true_positives / max(true_positives.max(initial=1), 1)"),
        ("np.sum(gained * _envelope(curve.precision))",
         "np.sum(gained * curve.precision)"),
        ("curve.recall + _ROUNDING, levels", "curve.recall, levels"),
    ],
    "kdwsd/evaluation/coco.py": [
        ('"iscrowd": int(crowd)', '"iscrowd": 0'),
        ('"id": len(annotations[class_id]) + 1,',
         '"id": len(annotations[class_id]),'),
        ("detected.class_ids, _rectangles(detected.boxes, image),\n        "
         "detected.scores):",
         "detected.class_ids[:100], _rectangles(detected.boxes[:100], "
         "image),\n        detected.scores[:100]):"),
        ("if image.truth is None:\n      continue",
         "if image.truth is None:\n      break"),
    ],
    "kdwsd/evaluation/metrics.py": [
        ("FREQUENT = 20", "FREQUENT = 19",
         "tests/evaluation/measurable_test.py",
         "tests/evaluation/summary_test.py"),
        ("best & above)", "best)", "tests/evaluation/summary_test.py"),
        ("[~np.isnan(values)]", "[np.isfinite(values) & (values > 0)]",
         "tests/evaluation/summary_test.py"),
    ],
    "kdwsd/evaluation/localization.py": [
        (">= _IOU - _ROUNDING", "> _IOU",
         "tests/evaluation/localization_test.py",
         "tests/evaluation/detection_test.py"),
        ("boxes[np.argmax(scores)]", "boxes[np.argmin(scores)]"),
        ("targets & (image.truth.class_ids == class_id)",
         "image.truth.class_ids == class_id"),
    ],
    "kdwsd/evaluation/answers.py": [
        ("if probabilities[i] >= choice.threshold]",
         "if probabilities[i] > choice.threshold]"),
        ("choice.box_share * np.max(found.scores, initial=0))",
         "choice.box_share)"),
    ],
    "kdwsd/evaluation/prediction_files.py": [
        ("np.where(known, present, -1)", "np.where(known, present, 0)"),
        ("best = np.sort(first)[:NUM_BOXES]", "best = first[:NUM_BOXES]"),
    ],
}
