
foreach (file('php://stdin', FILE_IGNORE_NEW_LINES) as $line) {
    $pairs = explode("\t", $line);
    $profile = array_shift($pairs);
    $body = base64_decode(array_shift($pairs));
    $secret = base64_decode(array_shift($pairs));
    $headers = [];
    foreach ($pairs as $pair) {
        [$name, $value] = explode(':', $pair);
        $headers[$name] = base64_decode($value);
    }
    echo implode(' ', array_map(fn (bool $verdict) => $verdict ? 'true' : 'false', [CALL])), "\n";
}
