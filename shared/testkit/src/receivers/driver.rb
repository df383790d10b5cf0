
class AnyCase < Hash
  def [](name)
    super(name.downcase)
  end
end

$stdin.each_line(chomp: true) do |line|
  profile, body, secret, *pairs = line.split("\t", -1)
  body, secret = body.unpack1('m'), secret.unpack1('m')
  headers = AnyCase.new
  pairs.each { |pair| headers[pair.split(':')[0]] = (pair.split(':')[1] || '').unpack1('m') }
  puts [CALL].join(' ')
end
