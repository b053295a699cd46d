"""Faults in exports, in the server, in the client and in reports."""

_CLIENT = "tests/export_kit/client_test.py"

FAULTS = {
    "kdwsd/serving/image_decoding.py": [
        ("mirrored = ((turn == 2) | (turn == 3) | (turn == 6) | (turn == 7))",
         "mirrored = ((turn == 2) | (turn == 3) | (turn == 7))"),
        ("mixed = (colours * alpha + 255 * (255 - alpha) + 127) // 255",
         "mixed = (colours * alpha + 127) // 255"),
        ("spare = 2 * tf.reduce_sum(tf.cast(",
         "spare = 8 + 0 * tf.reduce_sum(tf.cast("),
        ("tf.cast(width, tf.float64) > max_pixels,",
         "tf.cast(width, tf.float64) > 2 * max_pixels,"),
        ("index = tf.argmax(tf.concat([problems[:-1]",
         "index = tf.argmin(tf.concat([problems[:-1]"),
        ("tf.scatter_nd(places, images, [count, size, size, 3]))",
         "tf.pad(images, [[0, count - tf.shape(images, tf.int64)[0]], [0, "
         "0], [0, 0], [0, 0]]))"),
    ],
    "kdwsd/serving/exif.py": [
        ("at + _either(is_png, 8, 10), start)", "at + 8, start)"),
        ("(value >= 1) & (value <= 8), value, 1)",
         "(value >= 1) & (value <= 7), value, 1)"),
        ('known = little | _starts_with(header, b"MM\\0*")', "known = little"),
    ],
    "kdwsd/serving/signatures.py": [
        ('nothing = "" if values.dtype == tf.string else NO_ANSWER',
         'nothing = "" if values.dtype == tf.string else 0.0'),
        ("return _answers(tf.sigmoid(model(squares)), classes)",
         "return _answers(model(squares), classes)"),
        ("tf.math.top_k(probabilities, min(TOP_K, len(classes)))",
         "tf.math.top_k(probabilities, min(4, len(classes)))"),
        ('"valid": tf.reduce_all(sides > 0, axis=2)})',
         '"valid": tf.reduce_any(sides > 0, axis=2)})'),
        ('status = tf.where(status == "", problems, status)', "pass"),
        ("outputs = model.portable({", "outputs = model({"),
    ],
    "kdwsd/serving/proposal_inputs.py": [
        ("(proposals >= -_SLACK) & (proposals <= 1 + _SLACK), [1, 2])",
         "(proposals >= -_SLACK), [1, 2])", "tests/serving/signatures_test.py"),
        ("finite = tf.reduce_all(tf.math.is_finite(objectness), 1)",
         "finite = tf.reduce_all(tf.math.is_finite(proposals), [1, 2])",
         "tests/serving/signatures_test.py"),
    ],
    "kdwsd/serving/predictors.py": [
        ("valid[row, :number] = True", "valid[row] = True"),
        ("scores = proposal_scores[number, :len(image.proposals)]",
         "scores = proposal_scores[0, :len(image.proposals)]"),
        ("if len(batch) > 1:\n      return [found",
         "if len(batch) > 2:\n      return [found"),
    ],
    "kdwsd/serving/saved_model.py": [
        ("version = there[-1] + 1 if there else 1", "version = len(there) + 1"),
        ("sorted(\n      int(name) for name in names",
         "sorted(\n      name for name in names"),
        ("return version_path(path, there[-1])",
         "return version_path(path, there[0])"),
    ],
    "kdwsd/serving/verification.py": [
        ("if not difference <= TOLERANCE:", "if difference > TOLERANCE:"),
        ('longer[signatures.IMAGE_BYTES][-1] = b"no image"', "pass"),
        ("any(status[:-1]) or not status[-1] or not all(",
         "not status[-1] or not all("),
    ],
    "kdwsd/serving/batching_parameters.py": [
        ('text = re.sub(r"#.*", "", text)', "pass"),
        ("if max(batch_sizes) > most:", "if min(batch_sizes) > most:"),
    ],
    "kdwsd/serving/recorded_proposals.py": [
        ('("edge_model", "min_score", "edge_min_mag", "kappa"):',
         '("edge_model", "min_score", "edge_min_mag"):'),
    ],
    "kdwsd/serving/server/batching.py": [
        ("value[end - call.rows:end]", "value[:call.rows]"),
        ("signature.joins = False\n", "pass\n"),
        ("rows <= self._max_rows for rows",
         "rows <= 2 * self._max_rows for rows"),
    ],
    "kdwsd/serving/server/codes.py": [
        ("Code.NOT_FOUND: 404", "Code.NOT_FOUND: 400"),
        ("_HTTP_STATUSES.get(code, 500)", "_HTTP_STATUSES.get(code, 400)"),
    ],
    "kdwsd/serving/server/tensor_protos.py": [
        ("[context + one.SerializeToString() for one in examples]",
         "[one.SerializeToString() for one in examples]"),
        ("math.prod(shape) * dtype.size > _MAX_BYTES",
         "math.prod(shape) > _MAX_BYTES"),
    ],
    "kdwsd/serving/server/models.py": [
        ("version = max(loaded, default=None)",
         "version = min(loaded, default=None)"),
    ],
    "export/client.py": [
        ("probability >= options.threshold]",
         "probability > options.threshold]", _CLIENT),
        ("time.sleep(min(error.wait or wait, _LONGEST_WAIT))",
         "time.sleep(min(wait, _LONGEST_WAIT))", _CLIENT),
        ("self._batch_size = size // 2", "self._batch_size = 1", _CLIENT),
        ("key=lambda pair: -pair[1])", "key=lambda pair: pair[1])", _CLIENT),
    ],
    "kdwsd/reporting/comparison.py": [
        ("return 100 * (after - before)", "return 100 * (before - after)"),
        ('o_f1=classification["all"]["O-F1"]',
         'o_f1=classification["all"]["C-F1"]'),
        ('if column[0] not in optional or set(column[1:]) != {"-"}]',
         "if True]"),
        ('top3_c_f1=classification["top3"]["C-F1"]',
         'top3_c_f1=classification["all"]["C-F1"]'),
    ],
    "kdwsd/reporting/gallery.py": [
        ('np.argsort(-apart, kind="stable")',
         'np.argsort(apart, kind="stable")'),
        ("if index not in read or read[index][1] != image_id:",
         "if index not in read:"),
        ("None if labels[c] < 0 else bool(labels[c])", "bool(labels[c])"),
    ],
    "kdwsd/reporting/cost.py": [
        ("1.0 / statistics.median(seconds[name])",
         "statistics.median(seconds[name])"),
    ],
}
